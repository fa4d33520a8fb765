"""Makes the calls of clients/behaviour/cases.json, and spells the answers as the table does."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from scalingnote import Checkpoint, DocumentOrigin, ScalingnoteError

TABLE = json.loads((Path(__file__).parents[2] / "behaviour" / "cases.json").read_text(encoding="utf-8"))
_SPECIAL = {"nan": math.nan}


@dataclass
class Clients:
    """Clients with or without asyncio, and the collection that the table's documents are in."""

    documents: Any
    queries: Any
    collection: str
    checkpoint: Checkpoint


def plain(value: Any) -> Any:
    """The table's values: {"$": "nan"} is what JSON has no word for, {"repeat": "a ", "times": 9} a long text."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, Mapping) and {"repeat", "times"} == set(value):
        return value["repeat"] * value["times"]
    if isinstance(value, Mapping):
        return _SPECIAL[value["$"]] if "$" in value else {key: plain(each) for key, each in value.items()}
    return value


def _filter_of(found: Any) -> Any:
    """{"deep": N} and {"wide": N} are filters that would be long to write."""
    if isinstance(found, dict) and "deep" in found:
        inner: Any = {}
        for _ in range(found["deep"] - 1):
            inner = {"must": [{"filter": inner}]}
        return inner
    if isinstance(found, dict) and "wide" in found:
        return {"must": [{"field": "version", "equals": 0}] * found["wide"]}
    return found


async def _done(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


async def perform(clients: Clients, case: Mapping[str, Any]) -> dict[str, Any]:
    """What a call answers."""
    request = plain(case["request"])
    options = plain(case.get("options", {}))
    if "filter" in request:
        request["filter"] = _filter_of(request["filter"])
    return await globals()[f"_{case['call']}"](clients, request, options)


def _in(clients: Clients, request: dict[str, Any]) -> dict[str, Any]:
    """A search of the table's documents sees what is there. The token is of their tenant, and says nothing of others."""
    if "collection" in request:
        return request
    ours = {"collection": clients.collection}
    if "tenant" not in request:
        ours["at_least_as_fresh_as"] = clients.checkpoint.freshness_token
    return {**ours, **request}


def _found(result: Any) -> dict[str, Any]:
    hits = result.hits
    ids = [hit.id for hit in hits]
    why = result.explained_document
    cut = result.query_truncation
    fused, found = result.fusion, result.result_set
    return {
        "ids": ids,
        "ids_in_any_order": sorted(ids),
        "count": len(ids),
        "first": ids[0] if ids else None,
        "texts": [hit.text for hit in hits],
        "metadata": [hit.metadata for hit in hits],
        "versions": [hit.version for hit in hits],
        "snippets": [hit.snippet and hit.snippet.text for hit in hits],
        "highlights": [
            hit.snippet and [hit.snippet.text[start:end] for start, end in hit.snippet.highlights]
            for hit in hits
        ],
        "document_texts": [hit.document_text for hit in hits],
        "ranks": [hit.explanation and hit.explanation.rank for hit in hits],
        "origins": [hit.explanation and _origin(hit.explanation.origin) for hit in hits],
        "cut": cut
        and {
            "read_all": cut.tokens_read >= cut.query_tokens,
            "query_tokens": cut.query_tokens,
            "at_least": cut.query_tokens_at_least,
        },
        "fate": why and why.fate,
        "fate_origin": why and why.explanation and _origin(why.explanation.origin),
        "filter_path": why and why.filter_path,
        "word_ranks": [hit.legs and hit.legs.sparse and hit.legs.sparse.rank for hit in hits],
        "fusion": fused and [fused.method, fused.k, fused.dense_weight],
        "set": found
        and [
            found.kind,
            found.count,
            found.exact,
            [[[each.value, each.documents] for each in facet.values] for facet in found.facets],
        ],
        "no_good_answer": result.no_good_answer is not None,
    }


def _origin(origin: DocumentOrigin | None) -> dict[str, Any] | None:
    """What is the same in each run of what an explanation says about how a document came in."""
    if origin is None:
        return None
    age = (datetime.now(timezone.utc) - origin.ingested_at).total_seconds() if origin.ingested_at else -1
    return {
        "lately": 0 <= age < 3600,
        "traced": re.fullmatch(r"[0-9a-f]{32}", origin.trace_id) is not None,
        "sequence": origin.sequence,
        "placed": origin.position != "",
        "coverage": origin.coverage,
        "known": origin.unknown == "",
    }


async def _search(clients: Clients, request: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    return _found(await _done(clients.queries.search(**_in(clients, request), **options)))


async def _search_by_vector(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    encoded = await _done(clients.queries.encode(texts=[request.pop("vector_of")]))
    own = {"space": encoded.query_tower.space.fingerprint, "vector": encoded.embeddings[0]}
    return _found(await _done(clients.queries.search_by_vector(**{**own, **_in(clients, request)})))


async def _encode(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    times = request.pop("times", 1)
    texts = request["texts"] * times if times > 1 else request["texts"]
    vectors = (await _done(clients.queries.encode(texts=texts))).embeddings
    same = [
        [one, other]
        for one in range(min(len(vectors), 3))
        for other in range(one + 1, min(len(vectors), 3))
        if vectors[one] == vectors[other]
    ]
    return {"vectors": len(vectors), "dimensions": len(vectors[0]), "same": same}


async def _get(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    padding = request.pop("padded_to", 0) - len(request["ids"])
    request["ids"] = [request["ids"][0], *(f"nobody-{i}" for i in range(padding)), *request["ids"][1:]] if padding > 0 else request["ids"]
    found = await _done(clients.documents.get_documents(collection=clients.collection, **request))
    names = ("id", "title", "text", "metadata", "version", "tenant")
    return {
        "ids": [each.id for each in found],
        "count": len(found),
        "documents": [{name: getattr(each, name) for name in names} for each in found],
    }


async def _export(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    request = {"collection": clients.collection, **request}
    if request.pop("after_first", False):
        request["after"] = (await _all(clients.documents.export(**request)))[0].id
    found = await _all(clients.documents.export(**request))
    ids = [each.id for each in found]
    return {
        "ids": ids,
        "ids_in_any_order": sorted(ids),
        "count": len(ids),
        "vectors": [len(each.vector) for document in found for each in document.passages if each.vector],
    }


async def _all(items: Any) -> list[Any]:
    return [each async for each in items] if hasattr(items, "__aiter__") else list(items)


async def _ingest(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    operations = request.pop("operations")
    source = TABLE["documents"] if operations == "documents" else operations
    if "resume" in request:
        resume = request.pop("resume")
        last = clients.checkpoint
        ahead = f"{last.identity}.{2**53 - 1}" if resume.get("is_ahead") else last.freshness_token
        request["resume"] = Checkpoint(resume["sequence"], resume.get("identity", last.identity), ahead)
    outcomes: dict[int, Any] = {}
    done = await _done(
        clients.documents.ingest(
            source,
            on_outcome=lambda outcome: outcomes.update({outcome.sequence: outcome}),
            **{"collection": clients.collection, **request},
        )
    )
    in_order = [outcomes[key] for key in sorted(outcomes)]
    return {
        "outcomes": [each.kind for each in in_order],
        "fields": [violation.field for each in in_order if each.error for violation in each.error.violations],
        "watermark": done.watermark,
        "sent": done.sent,
    }


async def _count(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    found = await _done(clients.documents.count(**{"collection": clients.collection, **request}))
    return {"documents": found.documents}


async def _delete(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    found = await _done(clients.documents.delete(**{"collection": clients.collection, **request}))
    return {"documents": found.documents}


async def _describe(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    tower = (await _done(clients.queries.describe(**request))).tower
    return {"role": tower.role, "dimensions": tower.space.dimensions}


async def _collections(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    found = await _done(clients.documents.list_collections(**request))
    ours = [each for each in found if each.name == clients.collection]
    return {"has": len(ours) == 1, "documents": ours[0].documents}


async def _stream(clients: Clients, request: dict[str, Any], _: Any) -> dict[str, Any]:
    stream = clients.queries.search_stream()
    if request.get("is_closed"):
        await _done(stream.close())

    async def answer(search: dict[str, Any]) -> Any:
        try:
            asked = _in(clients, search)
            # Without asyncio, a stream gives a future.
            waiting = asyncio.wrap_future(stream.submit(**asked)) if hasattr(stream, "submit") else stream.search(**asked)
            result = await waiting
        except ScalingnoteError as error:
            return error.code
        return None if result is None else [hit.id for hit in result.hits]

    try:
        if request.get("in_turn"):
            answers = [await answer(search) for search in request["searches"]]
        else:
            answers = await asyncio.gather(*[answer(search) for search in request["searches"]])
    finally:
        await _done(stream.close())
    return {"answers": answers, "last": answers[-1], "superseded": None in answers[:-1]}
