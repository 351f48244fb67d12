"""Read Parquet manifests and zstd streams: the only importer of pyarrow, itself imported on demand.

Manifests are read in a child process only: ``shared.imports.sandboxed``.

pyarrow is installed in the worker, which reads imports, and not in the web image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.errors import InvalidManifest
from shared.imports.records import MAX_COLUMNS, MAX_LINE, Numbered

_BATCH_ROWS = 1_000
_MIN_BATCH_ROWS = 4
_BATCH_BYTES = 32 * 2**20
#: Limit for a batch in which one long value, stored once, is repeated in all rows of a column.
_WORST_BYTES = 128 * 2**20
#: Limit for a batch that is larger than its metadata states.
_MAX_BATCH_BYTES = 2 * _BATCH_BYTES
#: Maximum ratio of all rows to the file; a small file may unpack to the minimum whatever its ratio.
_MAX_RATIO = 100
_MIN_UNPACKED_BYTES = 128 * 2**20
#: Maximum average size of a row; a single long text is an error of its row.
_MAX_ROW_BYTES = 4 * MAX_LINE
_COLUMN_BYTES = 2**30
#: Bytes read at once from a column, whatever the size of its row group.
_BUFFER_BYTES = 1 << 20


def zstd_reader(file: BinaryIO) -> BinaryIO:
    """Return a stream that unpacks ``file`` while it is read; raises OSError for damaged data."""
    return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))


def records_of(file: BinaryIO, size: int) -> Iterator[Numbered]:
    """Yield the rows of a Parquet file as records, row group by row group.

    Called in a process with limited memory (``shared.sandbox``): the size of a page is known only after
    unpacking, and the footer may state a wrong one.

    Args:
        size: size of the file in bytes.

    Raises:
        InvalidManifest: no Parquet file, too many columns, or over a limit when unpacked.
        MemoryError: a page or value exceeds the memory limit of this process.
    """
    number, total_bytes = 0, 0
    try:
        table = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        names = table.schema_arrow.names
        if len(names) > MAX_COLUMNS or len(set(names)) < len(names):
            raise InvalidManifest(f"A Parquet manifest has at most {MAX_COLUMNS} columns of different names.")
        for batch in table.iter_batches(_batch_rows(table), use_threads=False):
            plain = _without_dictionaries(batch)
            total_bytes += plain.nbytes
            _check_unpacked(plain, number, total_bytes, size)
            for record in _batch_records(plain):
                number += 1
                yield number, record
    except MemoryError:
        # pyarrow's MemoryError is also an ArrowException.
        raise
    except (pa.ArrowException, OSError, EOFError) as error:
        raise InvalidManifest(
            f"The Parquet manifest cannot be read after row {number}: {str(error)[:200]}"
        ) from error


def _without_dictionaries(batch: Any) -> Any:
    """Decode dictionaries, so that the size of the batch is that of its rows."""
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _check_unpacked(batch: Any, number: int, total_bytes: int, size: int) -> None:
    """Reject a file that repeats one long value in all rows, although it stores it once."""
    if batch.nbytes > min(_MAX_BATCH_BYTES, _MAX_ROW_BYTES * len(batch)):
        raise InvalidManifest(
            f"The rows after row {number} of the Parquet manifest have {batch.nbytes // len(batch):,} bytes "
            "each, over the limit: shorten the texts."
        )
    if total_bytes > max_unpacked_bytes(size):
        raise unpacks_too_far(number)


def max_unpacked_bytes(size: int) -> int:
    """Return the maximum size of all rows of a file of ``size`` bytes."""
    return _MAX_RATIO * size + _MIN_UNPACKED_BYTES


def unpacks_too_far(number: int) -> InvalidManifest:
    """Return the error for a file whose rows up to ``number`` exceed ``max_unpacked_bytes``."""
    return InvalidManifest(
        f"The Parquet manifest unpacks to over {_MAX_RATIO} times its size after row {number}: refused. "
        "Send it as .csv or .jsonl if this is intended."
    )


def _batch_rows(table: Any) -> int:
    """Return the number of rows per batch, from the sizes in the metadata."""
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
    return max(_MIN_BATCH_ROWS, rows)


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
                # The digits of the narrow float, not those of its conversion to a double.
                row[name] = float(str(np.float32(row[name])))
        yield _record(row)


def _record(row: dict[str, Any]) -> dict[str, Any] | str:
    cells: dict[str, Any] = {}
    for column, value in row.items():
        try:
            cell = _plain(value)
        except ValueError as error:
            return f"The column {column!r} holds {error}."
        if cell is not None and cell != "":
            cells[column] = cell.strip() if isinstance(cell, str) else cell
    return cells


def _plain(value: Any) -> Any:
    """Convert a value to JSON types, without empty parts; raise ValueError if that is impossible."""
    if isinstance(value, dict):
        return {str(k): v for k, v in ((k, _plain(v)) for k, v in value.items()) if v is not None}
    if isinstance(value, list):
        return [v for v in map(_plain, value) if v is not None]
    if isinstance(value, float):
        # pandas writes a missing number as NaN.
        if math.isinf(value):
            raise ValueError("an infinite number")
        return None if math.isnan(value) else value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError("bytes that are not UTF-8 text") from None
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
