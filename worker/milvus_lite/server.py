"""Serve Milvus Lite with serialised writes: ``python -m worker.milvus_lite.server --data DIR --port PORT``.

Its engine and its gRPC service run as published. Only its ``main`` is replaced, because that lets concurrent
writers corrupt the write-ahead log (acknowledged rows vanish at the next crash), listens on all interfaces,
shares its port with a second server, leaves collections unloaded after a restart, and exits on SIGTERM
without closing the database.

Exit codes: 0 after SIGTERM or SIGINT, 3 if another process holds the folder, 4 if the port is in use.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# milvus_lite reads it at import. Unflushed rows are its slowest path, and a small memtable shortens the
# longest stall of a writer from 9 s to 1.7 s (measured).
os.environ.setdefault("MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES", str(8 << 20))

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from milvus_lite.exceptions import DataDirLockedError
from pymilvus.grpc_gen import milvus_pb2_grpc

from shared.storage.private_files import set_private_umask

LOCKED_EXIT_CODE = 3
PORT_TAKEN_EXIT_CODE = 4
_MAX_MESSAGE_BYTES = 256 << 20
_THREADS = 10
_WRITE_METHODS = """
    Insert Upsert Delete Flush CreateCollection DropCollection RenameCollection AlterCollection
    TruncateCollection CreateIndex DropIndex LoadCollection ReleaseCollection CreatePartition DropPartition
    LoadPartitions ReleasePartitions CreateAlias AlterAlias DropAlias CreateDatabase DropDatabase
    AlterDatabase ManualCompaction
"""


class WriteSerializer(grpc.ServerInterceptor):  # type: ignore[misc]
    """Serialises calls that change the database: one runs at a time."""

    def __init__(self) -> None:
        self._write_lock = threading.Lock()
        self._write_methods = frozenset(_WRITE_METHODS.split())

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Return the call's handler, with the lock held if it writes."""
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.rpartition("/")[2] not in self._write_methods:
            return handler

        def call_locked(request: Any, context: Any) -> Any:
            with self._write_lock:
                return handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            call_locked, handler.request_deserializer, handler.response_serializer
        )


def serve(data: Path, port: int) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    data.parent.mkdir(parents=True, exist_ok=True)
    try:
        database = MilvusLite(str(data))
    except DataDirLockedError:
        print(f"{data} is open in another process: stop that process first.", file=sys.stderr)
        return LOCKED_EXIT_CODE
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        # Indexed collections open as released, and searches of them fail. Loading one replays its log, which
        # two concurrent requests would do twice: so all are loaded before the first request.
        for name in database.list_collections():
            database.get_collection(name).load()
        server = grpc.server(
            ThreadPoolExecutor(_THREADS),
            interceptors=[WriteSerializer()],
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                # Otherwise a second server could share the port, and requests would reach either database.
                ("grpc.so_reuseport", 0),
            ],
        )
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(database), server)
        try:
            server.add_insecure_port(f"127.0.0.1:{port}")
        except RuntimeError:
            print(f"Port {port} of 127.0.0.1 is in use: stop what listens there.", file=sys.stderr)
            return PORT_TAKEN_EXIT_CODE
        server.start()
        ended.wait()
        server.stop(grace=5).wait()
    finally:
        database.close()
    return 0


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m worker.milvus_lite.server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the database")
    parser.add_argument("--port", type=int, required=True, help="the port on 127.0.0.1")
    arguments = parser.parse_args()
    set_private_umask()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(serve(arguments.data, arguments.port))


if __name__ == "__main__":
    main()
