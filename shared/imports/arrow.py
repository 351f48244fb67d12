"""Reads Parquet manifests and zstd streams: the only importer of pyarrow, itself imported when needed.

pyarrow is installed where imports are read: in the worker, not in the web image.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.errors import InvalidManifest
from shared.imports.records import MAX_COLUMNS, MAX_LINE, Numbered, flat_record

_BATCH_ROWS = 1_000
_LEAST_ROWS = 4
_BATCH_BYTES = 32 * 2**20
#: One long value may stand for all rows of a batch: the worst that a column of a row group can become.
_WORST_BYTES = 512 * 2**20
_COLUMN_BYTES = 2**30
#: Read at once of a column of a row group, however large the row group is.
_BUFFER_BYTES = 1 << 20


def zstd_reader(file: BinaryIO) -> BinaryIO:
    """Return what unpacks ``file`` while it is read; OSError where it is damaged."""
    return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))


def parquet_records(file: BinaryIO) -> Iterator[Numbered]:
    """Yield the rows of a Parquet file as records, row group by row group.

    Raises:
        InvalidManifest: it is no Parquet file, or has no column ``product_id``.
    """
    if file.seekable():
        yield from _records(file)
        return
    # Parquet begins at its end: a member of an archive that is unpacked while it is read goes to disk.
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, _BUFFER_BYTES)
        yield from _records(cast(BinaryIO, copy))


def _records(file: BinaryIO) -> Iterator[Numbered]:
    number = 0
    try:
        table = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        names = table.schema_arrow.names
        if len(names) > MAX_COLUMNS or "product_id" not in names or len(set(names)) < len(names):
            raise InvalidManifest(
                f"A Parquet manifest has at most {MAX_COLUMNS} columns of different names; "
                "one is `product_id`."
            )
        for batch in table.iter_batches(_batch_rows(table), use_threads=False):
            for record in _batch_records(batch):
                number += 1
                yield number, record
    except (pa.ArrowException, OSError, EOFError) as error:
        raise InvalidManifest(
            f"The Parquet manifest cannot be read after row {number}: {str(error)[:200]}"
        ) from error


def _batch_rows(table: Any) -> int:
    """As many rows as memory should hold at once, by what the file says of their size."""
    row_bytes = column_bytes = 1
    for n in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(n)
        row_bytes = max(row_bytes, group.total_byte_size // max(1, group.num_rows))
        for k in range(group.num_columns):
            column_bytes = max(column_bytes, group.column(k).total_uncompressed_size)
    if column_bytes > _COLUMN_BYTES:
        raise InvalidManifest(
            f"A column of the Parquet manifest has over {_COLUMN_BYTES:,} bytes in one row group: write "
            "smaller row groups."
        )
    rows = min(_BATCH_BYTES // row_bytes, _WORST_BYTES // column_bytes, _BATCH_ROWS)
    return max(_LEAST_ROWS, rows)


def _batch_records(batch: Any) -> Iterator[dict[str, Any] | str]:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist(maps_as_pydicts="strict")
    except (pa.ArrowException, ValueError, OverflowError, KeyError) as error:
        if len(batch) == 1:
            yield f"This row holds a value that cannot be read: {str(error)[:200]}"
            return
        for n in range(len(batch)):
            yield from _batch_records(batch.slice(n, 1))
        return
    singles = [f.name for f in batch.schema if pa.types.is_float32(f.type) or pa.types.is_float16(f.type)]
    for row in rows:
        for name in singles:
            if row[name] is not None:
                # The digits that were written, not those of the wider number.
                row[name] = float(str(np.float32(row[name])))
        yield _record(row)


def _record(row: dict[str, Any]) -> dict[str, Any] | str:
    cells: dict[str, Any] = {}
    for column, value in row.items():
        try:
            cells[column] = _plain(value)
        except ValueError as error:
            return f"The column {column!r} holds {error}."
    return flat_record(cells)


def _plain(value: Any) -> Any:
    """Return a value as JSON could hold it, without its empty parts; raises ValueError if it cannot."""
    if isinstance(value, dict):
        return {str(k): v for k, v in ((k, _plain(v)) for k, v in value.items()) if v is not None}
    if isinstance(value, list):
        return [v for v in map(_plain, value) if v is not None]
    if isinstance(value, float):
        # pandas writes a number that is missing as NaN.
        if math.isinf(value):
            raise ValueError("an infinite number")
        return None if math.isnan(value) else value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError("bytes that are no text") from None
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and len(value) > MAX_LINE:
        raise ValueError(f"a text of over {MAX_LINE:,} characters")
    if value is None or isinstance(value, str | int | bool):
        return value
    raise ValueError(f"a {type(value).__name__}, which is neither text, number, list nor object")
