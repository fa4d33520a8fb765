"""Exports as tables of the real libraries."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pandas
import pytest
from conftest import Pair

from scalingnote import AsyncDocumentClient, FullDocument

from scalingnote.frames import (
    COLUMNS,
    arrow_batches,
    arrow_schema,
    async_arrow_batches,
    pandas_batches,
    to_arrow,
    to_pandas,
)

EXPIRES = datetime(2100, 1, 31, 12, 30, 0, 123000, tzinfo=timezone.utc)
METADATA = {"n": 1, "big": 2**53 - 1, "f": 0.5, "none": None, "deep": {"list": [1, None, "ü", {"x": True}]}}


@pytest.fixture(scope="module")
def scope(pair: Pair) -> dict[str, Any]:
    where: dict[str, Any] = {"collection": f"{pair.collection}-frames", "tenant": "frames"}
    pair.documents.ingest(
        [
            {"id": "a", "title": "A", "text": "hello 🌟", "metadata": METADATA, "version": 2**53 - 1},
            {"id": "b", "text": "world", "expires_at": EXPIRES},
        ],
        **where,
    )
    pair.documents.ingest([{"id": "c", "text": "not kept"}], omit_text=True, **where)
    return where


def test_arrow(pair: Pair, scope: dict[str, Any]) -> None:
    table = to_arrow(pair.documents.export(**scope))
    assert table.schema == arrow_schema()
    table.validate(full=True)
    rows = {row["id"]: row for row in table.to_pylist()}
    assert json.loads(rows["a"]["metadata"]) == METADATA
    assert (rows["a"]["text"], rows["a"]["version"], rows["a"]["expires_at"]) == ("hello 🌟", 2**53 - 1, None)
    assert rows["b"]["expires_at"] == EXPIRES
    assert (rows["c"]["text"], rows["c"]["missing_text"]) == (None, "omitted")


def test_arrow_with_vectors(pair: Pair, scope: dict[str, Any]) -> None:
    table = to_arrow(pair.documents.export(with_vectors=True, **scope), passages=True)
    table.validate(full=True)
    rows = {row["id"]: row for row in table.to_pylist()}
    (passage,) = rows["a"]["passages"]
    # In UTF-16 code units, as the protocol counts.
    assert (passage["start"], passage["end"]) == (0, 8)
    assert len(passage["vector"]) == 384 and abs(sum(x * x for x in passage["vector"]) - 1) < 1e-4
    assert passage["terms"] and all(weight > 0 for _, weight in passage["terms"])
    plain = to_arrow(pair.documents.export(**scope), passages=True).to_pylist()
    assert [each["vector"] for row in plain for each in row["passages"]] == [None] * 3


def test_pandas(pair: Pair, scope: dict[str, Any]) -> None:
    frame = to_pandas(pair.documents.export(**scope)).set_index("id")
    assert frame["metadata"]["a"] == METADATA
    assert str(frame["version"].dtype) == "int64" and frame["version"]["a"] == 2**53 - 1
    assert str(frame["expires_at"].dtype) == "datetime64[ms, UTC]"
    assert frame["expires_at"]["b"] == pandas.Timestamp(EXPIRES) and pandas.isna(frame["expires_at"]["a"])
    assert pandas.isna(frame["text"]["c"]) and frame["missing_text"]["c"] == "omitted"


def test_nothing_has_the_same_types(pair: Pair, scope: dict[str, Any]) -> None:
    none = {**scope, "tenant": "nobody"}
    empty, full = to_pandas(pair.documents.export(**none)), to_pandas(pair.documents.export(**scope))
    assert len(empty) == 0 and list(empty.columns) == list(COLUMNS)
    assert list(map(str, empty.dtypes)) == list(map(str, full.dtypes))
    assert to_arrow(pair.documents.export(**none)).schema == arrow_schema()
    only_nulls = [each for each in pair.documents.export(**scope) if each.id == "c"]
    assert list(map(str, to_pandas(only_nulls).dtypes)) == list(map(str, full.dtypes))


def test_batches(pair: Pair, scope: dict[str, Any]) -> None:
    sizes = [each.num_rows for each in arrow_batches(pair.documents.export(**scope), batch=2)]
    assert sizes == [2, 1]
    assert [len(each) for each in pandas_batches(pair.documents.export(**scope), batch=2)] == [2, 1]

    async def main() -> list[int]:
        async with AsyncDocumentClient(pair.document_address) as client:
            return [each.num_rows async for each in async_arrow_batches(client.export(**scope), batch=2)]

    assert asyncio.run(main()) == [2, 1]


def test_a_large_export_need_not_fit_into_memory() -> None:
    """Documents are read as batches are taken: what was read is let go."""

    def many() -> Iterator[FullDocument]:
        for index in range(20_000):
            text = f"{index:010}" * 100
            yield FullDocument(str(index), "", text, None, {}, 0, None, "", "", [])

    tracemalloc.start()
    rows = sum(each.num_rows for each in arrow_batches(many(), batch=100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 20_000
    # 20 MB of text in all; a batch has a tenth of one.
    assert peak < 3_000_000


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(Exception, match="batch"):
        list(arrow_batches([], batch=0))
