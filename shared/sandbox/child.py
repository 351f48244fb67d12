"""Run the sandboxed process: ``python -m shared.sandbox.child CONNECTION MEMORY BYTES``.

It answers one request at a time. A new interpreter has neither the parent's secrets nor its memory. It ends
when its connection is closed, or by SIGPROF when a request exceeds its processor time.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from shared.errors import ImageTooLarge, OutOfMemory, VitrineError
from shared.sandbox import hardening
from shared.sandbox.budget import TOO_EXPENSIVE
from shared.sandbox.protocol import (
    Body,
    ConnectionClosed,
    Head,
    SharedMemory,
    error_to_head,
    receive_frame,
    send_frame,
)

_MAX_REQUEST_BYTES: Final = 2**31

#: Function for one request: takes its head and body, returns those of the answer.
Operation = Callable[[Head, bytes], tuple[Head, bytes | Body]]


def serve(
    connection: socket.socket, memory: SharedMemory, operations: dict[str, Operation], baseline_bytes: int
) -> None:
    """Answer requests until the parent closes the connection.

    Args:
        operations: functions by the ``op`` of a request.
        baseline_bytes: address space of this process before the first request.
    """
    while True:
        try:
            head, body = receive_frame(connection, _MAX_REQUEST_BYTES)
        except ConnectionClosed:
            return
        if baseline_bytes:
            hardening.limit_memory(baseline_bytes + head["memory_bytes"])
        hardening.limit_cpu(head["cpu_s"])
        started = time.process_time()
        answer, result = _answer(operations[head["op"]], head, body.tobytes())
        del body
        hardening.limit_cpu(0)
        answer["cpu_s"] = time.process_time() - started
        send_frame(connection, answer, result, memory)
        del result


def _answer(operation: Operation, head: Head, data: bytes) -> tuple[Head, bytes | Body]:
    try:
        return operation(head, data)
    except (MemoryError, OutOfMemory):
        # The budget of the picture is exhausted, not the memory of the machine.
        return error_to_head(ImageTooLarge(TOO_EXPENSIVE)), b""
    except VitrineError as error:
        return error_to_head(error), b""


def main() -> None:
    """Drop privileges, import and warm up the decoders, signal readiness, and serve."""
    hardening.drop_privileges()
    from shared.sandbox import operations

    operations.warm_up()
    connection = socket.socket(fileno=int(sys.argv[1]))
    memory = SharedMemory(int(sys.argv[3]), int(sys.argv[2]))
    send_frame(connection, {"ready": os.getpid()})
    try:
        serve(connection, memory, operations.OPERATIONS, hardening.address_space_bytes())
    except ConnectionClosed:
        return


if __name__ == "__main__":
    main()
