"""An export as a table: pandas (extra `pandas`) or Arrow (extra `arrow`).

One row a document, with the columns of `COLUMNS`; `text`, `missing_text` and `expires_at` are null where there is none.
A large export goes through in batches, so that it need not fit into memory.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from ._values import flag, whole
from .answers import FullDocument

if TYPE_CHECKING:
    import pandas
    import pyarrow

COLUMNS = (
    "id",
    "title",
    "text",
    "missing_text",
    "metadata",
    "version",
    "expires_at",
    "tenant",
    "content_hash",
)
BATCH = 1024
"""Documents of one batch."""
_MAX_BATCH = 1_000_000


def to_pandas(documents: Iterable[FullDocument], *, passages: bool = False) -> pandas.DataFrame:
    """All documents as one frame; see `pandas_batches`."""
    return _frame([_row(each, flag(passages, "passages")) for each in documents], passages)


def pandas_batches(
    documents: Iterable[FullDocument], *, batch: int = BATCH, passages: bool = False
) -> Iterator[pandas.DataFrame]:
    """Frames of `batch` documents each: `metadata` holds dicts, and `passages`, where they are asked for, lists of dicts
    of `text`, `start`, `end`, `vector` and `terms`."""
    return (_frame(rows, passages) for rows in _batches(documents, batch, passages))


def to_arrow(documents: Iterable[FullDocument], *, passages: bool = False) -> pyarrow.Table:
    """All documents as one table; see `arrow_batches`."""
    import pyarrow

    batches = list(arrow_batches(documents, passages=passages))
    return pyarrow.Table.from_batches(batches, schema=arrow_schema(passages=passages))


def arrow_batches(
    documents: Iterable[FullDocument], *, batch: int = BATCH, passages: bool = False
) -> Iterator[pyarrow.RecordBatch]:
    """Batches of `batch` documents each, of one schema: `metadata` is JSON text, for documents differ in what they hold.

    Give them to a writer of Parquet or IPC as they come.
    """
    return (_record_batch(rows, passages) for rows in _batches(documents, batch, passages))


async def async_arrow_batches(
    documents: AsyncIterable[FullDocument], *, batch: int = BATCH, passages: bool = False
) -> AsyncIterator[pyarrow.RecordBatch]:
    """The same from an asyncio client's export."""
    whole(batch, "batch", _MAX_BATCH, 1)
    rows: list[dict[str, Any]] = []
    async for document in documents:
        rows.append(_row(document, flag(passages, "passages")))
        if len(rows) == batch:
            yield _record_batch(rows, passages)
            rows = []
    if rows:
        yield _record_batch(rows, passages)


def arrow_schema(*, passages: bool = False) -> pyarrow.Schema:
    """The schema of every batch."""
    import pyarrow as pa

    text = pa.string()
    nullable: dict[str, Any] = {"text": text, "missing_text": text, "expires_at": pa.timestamp("ms", tz="UTC")}
    types = {**dict.fromkeys(COLUMNS, text), **nullable, "version": pa.int64()}
    fields = [pa.field(name, types[name], nullable=name in nullable) for name in COLUMNS]
    if passages:
        terms = pa.map_(pa.uint32(), pa.float32())
        passage = pa.struct(
            [
                pa.field("text", text, nullable=False),
                pa.field("start", pa.uint32()),
                pa.field("end", pa.uint32()),
                pa.field("vector", pa.list_(pa.float32())),
                pa.field("terms", terms),
            ]
        )
        fields.append(pa.field("passages", pa.list_(passage), nullable=False))
    return pa.schema(fields)


def _batches(
    documents: Iterable[FullDocument], batch: int, passages: bool
) -> Iterator[list[dict[str, Any]]]:
    whole(batch, "batch", _MAX_BATCH, 1)
    flag(passages, "passages")
    iterator = iter(documents)
    while rows := [_row(each, passages) for each in islice(iterator, batch)]:
        yield rows


def _row(document: FullDocument, passages: bool) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(document, name) for name in COLUMNS}
    if passages:
        row["passages"] = [
            {
                "text": each.text,
                "start": each.span[0] if each.span else None,
                "end": each.span[1] if each.span else None,
                "vector": each.vector,
                "terms": each.terms,
            }
            for each in document.passages
        ]
    return row


def _frame(rows: list[dict[str, Any]], passages: bool) -> pandas.DataFrame:
    import pandas

    columns = [*COLUMNS, "passages"] if passages else list(COLUMNS)
    frame = pandas.DataFrame(rows, columns=columns)
    # Explicit, so that a frame without rows, or with nothing but nulls, has the types of all others.
    texts = dict.fromkeys(("id", "title", "text", "missing_text", "tenant", "content_hash"), "string")
    frame = frame.astype({**texts, "version": "int64"})
    frame["expires_at"] = pandas.to_datetime(frame["expires_at"], utc=True).astype("datetime64[ms, UTC]")
    return frame


def _record_batch(rows: list[dict[str, Any]], passages: bool) -> pyarrow.RecordBatch:
    import pyarrow

    plain = []
    for row in rows:
        metadata = json.dumps(row["metadata"], ensure_ascii=False, sort_keys=True)
        item = {**row, "metadata": metadata}
        if passages:
            item["passages"] = [
                {**each, "terms": None if each["terms"] is None else list(each["terms"].items())}
                for each in row["passages"]
            ]
        plain.append(item)
    return pyarrow.RecordBatch.from_pylist(plain, schema=arrow_schema(passages=passages))
