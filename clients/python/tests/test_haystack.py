"""The retriever in the real Haystack."""

from __future__ import annotations

import asyncio
from typing import Any

import haystack
import pytest
from conftest import Pair

from scalingnote import ScalingnoteError

from scalingnote.haystack import ScalingnoteRetriever, to_filter


def retriever(pair: Pair, animals: Any, **more: Any) -> ScalingnoteRetriever:
    return ScalingnoteRetriever(pair.query_address, pair.collection, {**animals, **more})


def test_it_finds(pair: Pair, animals: dict[str, Any]) -> None:
    found = retriever(pair, animals).run(query="insects that make honey", top_k=2)["documents"]
    assert [each.id for each in found][0] == "bee" and len(found) == 2
    assert found[0].content == "Bees are insects that live in hives and make honey."
    assert found[0].score == found[0].meta["scalingnote"]["score"] > found[1].score
    assert found[0].meta["legs"] == 6


def is_(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def of(operator: str, *conditions: Any) -> dict[str, Any]:
    return {"operator": operator, "conditions": list(conditions)}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (is_("meta.place", "==", "farm"), {"cow", "hen"}),
        (of("AND", is_("meta.place", "==", "farm"), is_("meta.legs", ">", 2)), {"cow"}),
        (of("OR", is_("meta.place", "==", "hive"), is_("meta.legs", "<=", 0)), {"bee", "eel"}),
        (of("NOT", is_("meta.place", "==", "farm")), {"bee", "eel", "owl"}),
        (is_("meta.place", "in", ["farm", "wood"]), {"cow", "hen", "owl"}),
        (is_("meta.place", "not in", ["farm", "wood"]), {"bee", "eel"}),
        (is_("meta.legs", "!=", 2), {"bee", "cow", "eel"}),
        (is_("id", "==", "owl"), {"owl"}),
        (of("AND", is_("meta.legs", ">=", 2), of("OR", is_("meta.place", "==", "wood"))), {"owl"}),
        ({}, {"bee", "cow", "eel", "hen", "owl"}),
    ],
)
def test_filters(pair: Pair, animals: dict[str, Any], filters: Any, expected: set[str]) -> None:
    found = retriever(pair, animals).run(query="animal", filters=filters)["documents"]
    assert {each.id for each in found} == expected


def test_in_a_pipeline_that_was_saved(pair: Pair, animals: dict[str, Any]) -> None:
    pipeline = haystack.Pipeline()
    pipeline.add_component("retriever", retriever(pair, animals))
    # Haystack makes objects only of modules that it is told to trust.
    restored = haystack.Pipeline.loads(pipeline.dumps(), **trusting())
    found = restored.run({"retriever": {"query": "insects that make honey"}})["retriever"]["documents"]
    assert found[0].id == "bee"


def trusting() -> dict[str, Any]:
    """Older versions of Haystack trust all modules, and have no such parameter."""
    import inspect

    known = inspect.signature(haystack.Pipeline.loads).parameters
    return {"allowed_modules": ["scalingnote.haystack"]} if "allowed_modules" in known else {}


def test_asyncio(pair: Pair, animals: dict[str, Any]) -> None:
    async def main() -> list[Any]:
        # Older versions have a pipeline of its own for asyncio.
        kind = getattr(haystack, "AsyncPipeline", haystack.Pipeline)
        pipeline = kind()
        pipeline.add_component("retriever", retriever(pair, animals))
        found = await pipeline.run_async({"retriever": {"query": "insects that make honey"}})
        documents: list[Any] = found["retriever"]["documents"]
        return documents

    assert asyncio.run(main())[0].id == "bee"


def test_what_it_refuses(pair: Pair, animals: dict[str, Any]) -> None:
    with pytest.raises(ScalingnoteError, match='did you mean "limit"'):
        retriever(pair, animals, limits=1).run(query="animal")
    with pytest.raises(ScalingnoteError, match="has no condition here"):
        to_filter(is_("meta.place", "like", "x"))
    with pytest.raises(ScalingnoteError, match="value: is missing"):
        to_filter({"field": "meta.place", "operator": "=="})
    with pytest.raises(ScalingnoteError, match="AND, OR or NOT"):
        to_filter(of("XOR", is_("meta.place", "==", "x")))
