"""Runs clients/behaviour/cases.json, as test/behaviour.test.ts does with the TypeScript client; with and without asyncio."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Pair
from perform import TABLE, Clients, perform

from scalingnote import AsyncDocumentClient, AsyncQueryClient, Checkpoint, ScalingnoteError


@pytest.fixture(scope="session")
def checkpoint(pair: Pair) -> Checkpoint:
    done = pair.documents.ingest(TABLE["documents"], collection=pair.collection)
    assert done.indexed + done.unchanged == len(TABLE["documents"])
    return Checkpoint(done.watermark, done.identity, done.freshness_token)


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An asyncio client belongs to one loop."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="session", params=["sync", "asyncio"])
def clients(
    request: Any, pair: Pair, checkpoint: Checkpoint, loop: asyncio.AbstractEventLoop
) -> Iterator[Clients]:
    if request.param == "sync":
        yield Clients(pair.documents, pair.queries, pair.collection, checkpoint)
        return
    documents, queries = AsyncDocumentClient(pair.document_address), AsyncQueryClient(pair.query_address)
    yield Clients(documents, queries, pair.collection, checkpoint)
    loop.run_until_complete(documents.close())
    loop.run_until_complete(queries.close())


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: f"{case['call']}: {case['name']}")
def test_case(clients: Clients, loop: asyncio.AbstractEventLoop, pair: Pair, case: dict[str, Any]) -> None:
    if case.get("only_on", pair.store) != pair.store:
        return
    expect = case["expect"]
    if "code" not in expect:
        found = loop.run_until_complete(perform(clients, case))
        assert {key: found.get(key) for key in expect} == expect
        return
    with pytest.raises(ScalingnoteError) as caught:
        loop.run_until_complete(perform(clients, case))
    error = caught.value
    assert error.code == expect["code"], error
    assert error.reason == expect.get("reason", error.reason), error
    if "field" in expect:
        assert expect["field"] in [violation.field for violation in error.violations], error
    if "says" in expect:
        assert expect["says"] in error.message, error
