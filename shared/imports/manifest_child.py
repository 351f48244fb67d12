"""Read one Parquet, Excel or XML manifest: ``python -m shared.imports.manifest_child CONNECTION ...``.

The process has no file: it requests each part from its parent, and sends rows as JSON in batches. Its memory
is limited in total, and its processor time per batch.
"""

from __future__ import annotations

import io
import json
import math
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, Final, cast

from shared.errors import Misconfigured, VitrineError
from shared.imports.formats import Format
from shared.imports.seekable import SeekableFile
from shared.sandbox import hardening
from shared.sandbox.protocol import ConnectionClosed, Head, error_to_head, receive_frame, send_frame

_BATCH_ROWS: Final = 500
_BATCH_BYTES: Final = 1 << 20
#: Maximum size of one read: pages have about a megabyte.
MAX_READ_BYTES: Final = 128 * 2**20
_BUFFER_BYTES: Final = 256 * 1024
Reader = Callable[[socket.socket, Head], None]


class RemoteFile(SeekableFile):
    """A file that the parent process reads."""

    def __init__(self, connection: socket.socket, size: int) -> None:
        super().__init__(size)
        self._connection = connection

    def read(self, size: int | None = -1) -> bytes:
        left = self.left()
        length = left if size is None or size < 0 else min(size, left)
        if length > MAX_READ_BYTES:
            raise MemoryError
        send_frame(self._connection, {"read": [self._at, length]})
        data = receive_frame(self._connection, MAX_READ_BYTES)[1].tobytes()
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class RemoteStream:
    """A file that the parent process reads from its beginning to its end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._at = 0

    def read(self, size: int) -> bytes:
        send_frame(self._connection, {"read": [self._at, min(size, MAX_READ_BYTES)]})
        data = receive_frame(self._connection, MAX_READ_BYTES)[1].tobytes()
        self._at += len(data)
        return data


def serve(
    connection: socket.socket, records: Iterable[tuple[int, Any]], cpu_s: float, max_bytes: float = math.inf
) -> int | None:
    """Send all records in batches, each after the parent's acknowledgement.

    Returns:
        None, or the number of the row at which the JSON exceeded ``max_bytes``.
    """
    batch: list[tuple[int, str]] = []
    size, total = 0, 0
    for number, record in records:
        batch.append((number, json.dumps(record)))
        size += len(batch[-1][1])
        total += len(batch[-1][1])
        if total > max_bytes:
            # The size of dictionaries within lists and objects is known only now.
            return number
        if len(batch) == _BATCH_ROWS or size >= _BATCH_BYTES:
            _send(connection, batch, cpu_s)
            batch, size = [], 0
    _send(connection, batch, cpu_s)
    return None


def _send(connection: socket.socket, batch: list[tuple[int, str]], cpu_s: float) -> None:
    text = ",".join(f"[{number},{record}]" for number, record in batch)
    send_frame(connection, {"rows": len(batch)}, f"[{text}]".encode())
    receive_frame(connection, 0)
    hardening.limit_cpu(cpu_s)


def _answer(connection: socket.socket, head: Head) -> Head:
    """Read the manifest; return the final frame."""
    try:
        reader = _READERS[head["format"]]()
    except ModuleNotFoundError as error:
        return error_to_head(Misconfigured(f"Parquet is read by {error.name}, which is not installed here."))
    baseline_bytes = hardening.address_space_bytes()
    if baseline_bytes:
        hardening.limit_memory(baseline_bytes + head["memory_bytes"])
    hardening.limit_cpu(head["cpu_s"])
    try:
        reader(connection, head)
    except VitrineError as error:
        return error_to_head(error)
    except MemoryError:
        return {"too_expensive": True}
    return {"end": True}


def _parquet_reader() -> Reader:
    from shared.imports import arrow

    def read(connection: socket.socket, head: Head) -> None:
        records = arrow.records_of(cast(BinaryIO, RemoteFile(connection, head["size"])), head["size"])
        too_far = serve(connection, records, head["cpu_s"], arrow.max_unpacked_bytes(head["size"]))
        if too_far is not None:
            raise arrow.unpacks_too_far(too_far)

    return read


def _xlsx_reader() -> Reader:
    from shared.imports.xlsx import xlsx_records

    def read(connection: socket.socket, head: Head) -> None:
        # zipfile reads headers in pieces of a few bytes, and each read is a message to the parent.
        file = io.BufferedReader(RemoteFile(connection, head["size"]), _BUFFER_BYTES)
        serve(connection, xlsx_records(cast(BinaryIO, file), head["size"], head["name"]), head["cpu_s"])

    return read


def _xml_reader() -> Reader:
    from shared.imports.xml_feed import xml_records

    def read(connection: socket.socket, head: Head) -> None:
        file = cast(BinaryIO, RemoteStream(connection))
        serve(connection, xml_records(file, head["name"]), head["cpu_s"])

    return read


#: Functions that import a format's parser, before memory is limited, and return its reader.
_READERS: Final[dict[str, Callable[[], Reader]]] = {
    Format.PARQUET: _parquet_reader,
    Format.XLSX: _xlsx_reader,
    Format.XML: _xml_reader,
}


def main() -> None:
    hardening.drop_privileges()
    connection = socket.socket(fileno=int(sys.argv[1]))
    try:
        send_frame(connection, {"ready": True})
        head, _ = receive_frame(connection, 0)
        send_frame(connection, _answer(connection, head))
    except ConnectionClosed:
        return


if __name__ == "__main__":
    main()
