"""Read Parquet manifests in a child process, because the sizes that they state may be wrong."""

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
from shared.imports.parquet_child import MAX_READ_BYTES
from shared.imports.records import Numbered
from shared.sandbox.budget import Budget
from shared.sandbox.process import Child
from shared.sandbox.protocol import ConnectionClosed, Head, raise_error
from shared.storage.durable import translate_storage_errors

#: Memory limit of the child; processor time and deadline are per batch of rows.
BUDGET: Final = Budget(memory_bytes=512 * 2**20, cpu_s=10.0, wall_s=60.0)
_COPY_BYTES: Final = 1 << 20
_MAX_ROWS_BYTES: Final = 256 * 2**20


def parquet_records(file: BinaryIO, name: str, budget: Budget = BUDGET) -> Iterator[Numbered]:
    """Yield the rows of a Parquet file as records, in constant memory of this process.

    Args:
        name: name of the file for error messages.

    Raises:
        InvalidManifest: no Parquet file, too many columns, or over the budget.
        Misconfigured: pyarrow is not installed.
        Unavailable: the child cannot be started, or was killed from outside.
    """
    if file.seekable():
        yield from _records(file, name, budget)
        return
    # Parquet readers start at the end of the file, so a compressed member of an archive is copied to disk.
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy, _COPY_BYTES)
        yield from _records(cast(BinaryIO, copy), name, budget)


def _records(file: BinaryIO, name: str, budget: Budget) -> Iterator[Numbered]:
    number = 0
    with closing(_Reader(file, budget)) as reader:
        try:
            for number, record in reader.rows():
                yield number, record
        except InvalidManifest as error:
            raise InvalidManifest(f"{name}: {error.message}") from error
        except _BudgetExceeded as error:
            raise InvalidManifest(
                f"{name}: the Parquet manifest takes more than {budget.memory_bytes // 2**20} MiB of memory "
                f"or {budget.cpu_s:.0f} s of processor time for what follows row {number}. Write it again "
                "with shorter texts, smaller pages and row groups of at most 10,000 rows, or send it as "
                ".csv or .jsonl."
            ) from error


class _BudgetExceeded(Exception):
    """The child exceeded a limit."""


class _Reader:
    """A child that reads one file."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self._file = file
        self._budget = budget
        self._child = Child("shared.imports.parquet_child", _COPY_BYTES)

    def close(self) -> None:
        self._child.kill()

    def rows(self) -> Iterator[Numbered]:
        child, budget = self._child, self._budget
        child.wait_ready()
        head: Head = {"size": self._size(), "memory_bytes": budget.memory_bytes, "cpu_s": budget.cpu_s}
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
            self._file.seek(offset)
            return self._file.read(size)
