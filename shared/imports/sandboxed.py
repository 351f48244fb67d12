"""Read Parquet, Excel and XML manifests in a child process with limits.

The sizes that these files state may be wrong, and their parsers are written in C.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, Final, cast

from shared.errors import InvalidManifest, Unavailable
from shared.imports.formats import Format
from shared.imports.manifest_child import MAX_READ_BYTES
from shared.imports.records import Numbered
from shared.sandbox.budget import Budget
from shared.sandbox.process import Child
from shared.sandbox.protocol import ConnectionClosed, Head, raise_error
from shared.storage.disk import translate_storage_errors

#: Memory limit of the child; processor time and deadline are per batch of rows.
BUDGET: Final = Budget(memory_bytes=512 * 2**20, cpu_s=10.0, wall_s=60.0)
_COPY_BYTES: Final = 1 << 20
_MAX_ROWS_BYTES: Final = 256 * 2**20


#: Formats whose readers begin at the end of the file.
_SEEKING: Final = frozenset((Format.PARQUET, Format.XLSX))
_ADVICE: Final = {
    Format.PARQUET: "Write it again with shorter texts, smaller pages and row groups of at most 10,000 rows, "
    "or send it as .csv or .jsonl.",
    Format.XLSX: "Save it as CSV.",
    Format.XML: "Split it, or send it as CSV.",
}


def sandboxed_records(
    file: BinaryIO, name: str, format_: Format, budget: Budget = BUDGET
) -> Iterator[Numbered]:
    """Yield the rows of a file as records, in constant memory of this process.

    Args:
        name: name of the file for error messages.
        format_: Parquet, Excel or XML.

    Raises:
        InvalidManifest: the file is not of this format, has too many columns, or exceeds the budget.
        Misconfigured: pyarrow, which Parquet needs, is not installed.
        Unavailable: the child cannot be started, or was killed from outside.
    """
    if format_ not in _SEEKING or file.seekable():
        yield from _records(file, name, format_, budget)
        return
    # A compressed member of an archive is copied to disk.
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, _COPY_BYTES)
        yield from _records(cast(BinaryIO, copy), name, format_, budget)


def _records(file: BinaryIO, name: str, format_: Format, budget: Budget) -> Iterator[Numbered]:
    number = 0
    with closing(_Reader(file, name, format_, budget)) as reader:
        try:
            for number, record in reader.rows():
                yield number, record
        except InvalidManifest as error:
            # The other readers name the file.
            prefix = f"{name}: " if format_ is Format.PARQUET else ""
            raise InvalidManifest(prefix + error.message) from error
        except _BudgetExceeded as error:
            raise InvalidManifest(
                f"{name}: the {format_} manifest takes more than {budget.memory_bytes // 2**20} MiB of "
                f"memory or {budget.cpu_s:.0f} s of processor time for what follows row {number}. "
                f"{_ADVICE[format_]}"
            ) from error


class _BudgetExceeded(Exception):
    """The child exceeded a limit."""


class _Reader:
    """A child that reads one file."""

    def __init__(self, file: BinaryIO, name: str, format_: Format, budget: Budget) -> None:
        self._file = file
        self._budget = budget
        self._is_stream = format_ not in _SEEKING
        self._position = 0
        self._head: Head = {"format": format_.value, "name": name}
        self._child = Child("shared.imports.manifest_child", _COPY_BYTES)

    def close(self) -> None:
        self._child.kill()

    def rows(self) -> Iterator[Numbered]:
        child, budget = self._child, self._budget
        child.wait_ready()
        head: Head = {**self._head, "memory_bytes": budget.memory_bytes, "cpu_s": budget.cpu_s}
        if not self._is_stream:
            head["size"] = self._size()
        try:
            child.send(head)
            until = time.monotonic() + budget.wall_s
            while True:
                head, body = child.receive(_MAX_ROWS_BYTES, until)
                if "read" in head:
                    began = time.monotonic()
                    child.send({}, self._read(head["read"][0], head["read"][1]))
                    until += time.monotonic() - began
                elif "rows" in head:
                    yield from json.loads(body.tobytes())
                    child.send({})
                    until = time.monotonic() + budget.wall_s
                elif "end" in head:
                    return
                else:
                    raise_error(head)
                    raise _BudgetExceeded
        except TimeoutError as error:
            raise _BudgetExceeded from error
        except ConnectionClosed as error:
            if child.reap() in (signal.SIGKILL, signal.SIGTERM):
                raise Unavailable("The reader of the manifest was killed from outside.") from error
            raise _BudgetExceeded from error

    def _size(self) -> int:
        with translate_storage_errors("read an import"):
            return self._file.seek(0, 2)

    def _read(self, offset: int, size: int) -> bytes:
        if not 0 <= size <= MAX_READ_BYTES or offset < 0:
            raise _BudgetExceeded
        with translate_storage_errors("read an import"):
            if not self._is_stream:
                self._file.seek(offset)
            elif offset != self._position:
                raise _BudgetExceeded
            data = self._file.read(size)
        self._position = offset + len(data)
        return data
