"""Runs clients/behaviour/cases.json, as test/behaviour.test.ts does with the TypeScript client."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Pair

from scalingnote import ScalingnoteError

TABLE = json.loads((Path(__file__).parents[2] / "behaviour" / "cases.json").read_text())


@pytest.fixture(scope="session")
def fresh(pair: Pair) -> str:
    done = pair.documents.ingest(TABLE["documents"], collection=pair.collection)
    assert done.indexed == len(TABLE["documents"])
    return done.freshness_token


def answer(pair: Pair, fresh: str, call: str, request: dict[str, Any]) -> dict[str, Any]:
    request = dict(request)
    if call == "encode":
        return {"vectors": len(pair.queries.encode(**request).embeddings)}
    request.setdefault("collection", pair.collection)
    if call == "search":
        request.setdefault("at_least_as_fresh_as", fresh if request["collection"] == pair.collection else None)
        ids = [hit.id for hit in pair.queries.search(**request).hits]
        found = {"ids": ids, "ids_in_any_order": sorted(ids), "count": len(ids)}
        return {**found, "first": ids[0]} if ids else found
    if call == "ingest":
        operations = request.pop("operations")
        source = TABLE["documents"] if operations == "documents" else operations
        kinds: dict[int, str] = {}
        done = pair.documents.ingest(
            source, on_outcome=lambda outcome: kinds.update({outcome.sequence: outcome.kind}), **request
        )
        return {"outcomes": [kinds[key] for key in sorted(kinds)], "watermark": done.watermark}
    method = {"count": pair.documents.count, "delete": pair.documents.delete}[call]
    return {"documents": method(**request).documents}


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: f"{case['call']}: {case['name']}")
def test_case(pair: Pair, fresh: str, case: dict[str, Any]) -> None:
    expect = case["expect"]
    if "code" not in expect:
        found = answer(pair, fresh, case["call"], case["request"])
        assert {key: found.get(key) for key in expect} == expect
        return
    with pytest.raises(ScalingnoteError) as caught:
        answer(pair, fresh, case["call"], case["request"])
    error = caught.value
    assert error.code == expect["code"], error
    assert error.reason == expect.get("reason", error.reason), error
    if "field" in expect:
        assert expect["field"] in [violation.field for violation in error.violations], error
