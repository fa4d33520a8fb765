"""Writes pyarrow.parquet beside this file, with pyarrow 26: `python make-parquet.py`."""

import datetime
import decimal
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

UTC = datetime.timezone.utc
table = pa.table(
    {
        "sku": pa.array([1, 2, 3, 4, 5], pa.int64()),
        "name": pa.array(["Käse", "b", None, "d", "e"]),
        "body": pa.array(["first", "second\nline", "third", "fourth", "fifth"]).dictionary_encode(),
        "views": pa.array([7, 1234567890123456789, None, 2**53 - 1, 5], pa.int64()),
        "score": pa.array([0.5, 1.0, float("nan"), -2.25, None], pa.float64()),
        "good": pa.array([True, False, None, True, True]),
        "day": pa.array([datetime.date(2024, 5, 1)] * 4 + [None]),
        "at": pa.array([datetime.datetime(2024, 5, 1, 12, 30, 0, 123456, UTC)] * 5, pa.timestamp("us", "UTC")),
        "price": pa.array([decimal.Decimal("12.50")] * 5, pa.decimal128(9, 2)),
        "tags": pa.array([["a", "b"], [], None, ["c"], ["d", None]]),
        "maker": pa.array([{"name": "x", "since": 1999}] * 5),
    }
)
here = pathlib.Path(__file__).parent
pq.write_table(table, here / "pyarrow.parquet", row_group_size=2, compression="zstd")
