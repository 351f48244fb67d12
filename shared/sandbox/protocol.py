"""Frames between a process and its sandbox child: a JSON head and a body of bytes, over a socket pair.

JSON and raw bytes only, so that a compromised child can send nothing that its parent executes. Large answers,
which are pixels, use shared memory, because the socket would need a context switch per 200 kB.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import tempfile
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import VitrineError, all_errors

#: Lengths of head and body in bytes.
_PREFIX: Final = struct.Struct("<IQ")
_MAX_HEAD_BYTES: Final = 1 << 20
#: Smaller bodies fit into one write to the socket.
_MIN_SHARED_BYTES: Final = 128 * 1024
#: Memory up to this size is kept for the next answer.
_MAX_KEPT_BYTES: Final = 16 * 2**20

Head = dict[str, Any]
Body = NDArray[np.uint8]


class ConnectionClosed(Exception):
    """The other side closed the connection."""


class SharedMemory:
    """Memory for the answers of one child, mapped by both sides; unwritten pages use no memory.

    Args:
        size: maximum size of an answer in bytes.
        fd: descriptor of the memory that the other side created; None creates it.
    """

    def __init__(self, size: int, fd: int | None = None) -> None:
        self.size = size
        if fd is not None:
            self.fd = fd
        elif hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("vitrine-sandbox", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())
        if fd is None:
            os.ftruncate(self.fd, size)
        self._map = mmap.mmap(self.fd, size)
        self._bytes: Body = np.frombuffer(self._map, np.uint8)

    def write(self, body: Body) -> None:
        self._bytes[: len(body)] = body

    def read(self, size: int) -> Body:
        """Return a copy of the first ``size`` bytes; the other side may change them at any time."""
        copy = self._bytes[:size].copy()
        if size > _MAX_KEPT_BYTES:
            # Return the written pages to the system.
            os.ftruncate(self.fd, 0)
            os.ftruncate(self.fd, self.size)
        return copy

    def close(self) -> None:
        """Unmap the memory and close its descriptor."""
        self._bytes = np.empty(0, np.uint8)
        self._map.close()
        os.close(self.fd)


def send_frame(
    connection: socket.socket, head: Head, body: bytes | Body = b"", memory: SharedMemory | None = None
) -> None:
    """Send one frame, with a large body through ``memory`` if it is given.

    Raises:
        ConnectionClosed: the other side closed the connection.
        TimeoutError: the timeout of the connection passed.
    """
    if memory is not None and isinstance(body, np.ndarray) and _MIN_SHARED_BYTES <= len(body) <= memory.size:
        memory.write(body)
        head, body = {**head, "shared_bytes": len(body)}, b""
    text = json.dumps(head).encode()
    try:
        connection.sendall(_PREFIX.pack(len(text), len(body)) + text)
        if len(body):
            connection.sendall(memoryview(body))  # type: ignore[arg-type]
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ConnectionClosed from error


def receive_frame(
    connection: socket.socket,
    max_body_bytes: int,
    until: float | None = None,
    memory: SharedMemory | None = None,
) -> tuple[Head, Body]:
    """Receive one frame.

    Args:
        max_body_bytes: maximum size of the body; a longer one is treated as a broken connection.
        until: deadline in monotonic seconds; None: no deadline.

    Returns:
        The head, and the body as ``(N,) uint8``.

    Raises:
        ConnectionClosed: the other side closed the connection, or sent an invalid frame.
        TimeoutError: ``until`` passed.
    """
    head_bytes, body_bytes = _PREFIX.unpack(_receive(connection, _PREFIX.size, until).tobytes())
    if head_bytes > _MAX_HEAD_BYTES or body_bytes > max_body_bytes:
        raise ConnectionClosed
    head = json.loads(_receive(connection, head_bytes, until).tobytes())
    if not isinstance(head, dict):
        raise ConnectionClosed
    shared_bytes = head.get("shared_bytes", 0)
    if memory is None or not isinstance(shared_bytes, int) or shared_bytes <= 0:
        return head, _receive(connection, body_bytes, until)
    if shared_bytes > min(memory.size, max_body_bytes):
        raise ConnectionClosed
    return head, memory.read(shared_bytes)


def _receive(connection: socket.socket, size: int, until: float | None) -> Body:
    buffer = np.empty(size, np.uint8)
    rest = memoryview(buffer)  # type: ignore[arg-type]  # an array is a buffer from Python 3.12's types on
    while rest:
        if until is not None:
            connection.settimeout(max(1e-3, until - time.monotonic()))
        try:
            count = connection.recv_into(rest)
        except ConnectionResetError as error:
            raise ConnectionClosed from error
        if count == 0:
            raise ConnectionClosed
        rest = rest[count:]
    return buffer


def error_to_head(error: VitrineError) -> Head:
    """Convert one of our errors to a frame head."""
    return {"error": error.code, "message": error.message, "field": error.field}


def raise_error(head: Head) -> None:
    """Raise the error in a frame head, if it has one."""
    if "error" in head:
        raise all_errors().get(head["error"], VitrineError)(str(head.get("message")), head.get("field"))
