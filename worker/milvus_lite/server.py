"""Milvus Lite as one process with one writer: ``python -m worker.milvus_lite.server --data DIR --port PORT``.

The server that Milvus Lite brings is not used, for it lets concurrent writers corrupt the write-ahead
log (acknowledged rows vanish at the next crash), listens on all interfaces, shares its port with a
second server, leaves collections unloaded after a restart, and dies on SIGTERM without closing.

Ends with 0 after SIGTERM or SIGINT, 3 if another process has the folder, 4 if the port is taken.
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

# Read by milvus_lite at import. Unflushed rows are its slowest path, and a small memtable also shortens
# the longest stall of a writer from 9 s to 1.7 s.
os.environ.setdefault("MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES", str(8 << 20))

import grpc
import numpy as np
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from milvus_lite.exceptions import DataDirLockedError
from milvus_lite.index.faiss_hnsw import FaissHnswIndex
from pymilvus.grpc_gen import milvus_pb2_grpc

from worker.milvus_lite import filters

LOCKED_EXIT_CODE = 3
PORT_TAKEN_EXIT_CODE = 4
_MAX_MESSAGE_BYTES = 256 << 20
_THREADS = 10
# Below this share of rows kept by a filter the graph loses hits (measured: 16 of 20 at 1 %), and the
# exact scores of the rows that are kept cost less than the walk.
_SELECTIVE = 0.2
_WRITES = """
    Insert Upsert Delete Flush CreateCollection DropCollection RenameCollection AlterCollection
    TruncateCollection CreateIndex DropIndex LoadCollection ReleaseCollection CreatePartition DropPartition
    LoadPartitions ReleasePartitions CreateAlias AlterAlias DropAlias CreateDatabase DropDatabase
    AlterDatabase ManualCompaction
"""

_graph_search: Callable[..., tuple[Any, Any]] = FaissHnswIndex.search


def search_exactly_when_selective(
    index: Any,
    queries: Any,
    top_k: int,
    valid_mask: Any = None,
    params: dict[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Search one segment: by the graph, or exactly among the kept rows when a filter keeps few.

    Takes and returns what ``FaissHnswIndex.search`` does: ``(nq, top_k)`` row numbers, -1 for none, and
    distances, smaller is nearer.
    """
    kept = None if valid_mask is None else np.flatnonzero(valid_mask)
    if kept is None or kept.size == 0 or kept.size > _SELECTIVE * index.num_vectors or index.metric == "L2":
        return _graph_search(index, queries, top_k, valid_mask, params)
    queries = np.atleast_2d(np.asarray(queries, dtype=np.float32))
    if index.metric == "COSINE":
        norms = np.linalg.norm(queries, axis=1, keepdims=True)
        queries = queries / np.where(norms > 0, norms, 1)
    scores = queries @ index._index.reconstruct_batch(kept).T
    count = min(top_k, kept.size)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    ids = np.full((len(queries), top_k), -1, dtype=np.int64)
    distances = np.full((len(queries), top_k), np.inf, dtype=np.float32)
    ids[:, :count] = kept[order]
    nearest = np.take_along_axis(scores, order, axis=1)
    distances[:, :count] = np.vectorize(index._normalize_distance, otypes=[np.float32])(nearest)
    return ids, distances


class OneWriterServicer(MilvusServicer):  # type: ignore[misc]
    """The engine's servicer with every change made under one lock."""

    def __init__(self, database: MilvusLite) -> None:
        super().__init__(database)
        self._writing = threading.RLock()
        self._opening = threading.Lock()
        for name in _WRITES.split():
            setattr(self, name, self._alone(getattr(self, name)))

    def _alone(self, method: Any) -> Any:
        def call(request: Any, context: Any) -> Any:
            with self._writing:
                return method(request, context)

        return call

    def _get_collection(self, request: Any, context: Any) -> Any:
        # The first opening replays the log, which two threads at once would do twice.
        with self._opening:
            return super()._get_collection(request, context)


def serve(data: Path, port: int) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    FaissHnswIndex.search = search_exactly_when_selective
    filters.install()
    data.parent.mkdir(parents=True, exist_ok=True)
    try:
        database = MilvusLite(str(data))
    except DataDirLockedError:
        print(f"{data} is open in another process: stop that one first.", file=sys.stderr)
        return LOCKED_EXIT_CODE
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        # Indexed collections open as released, and a search of such a one fails.
        for name in database.list_collections():
            database.get_collection(name).load()
        server = grpc.server(
            ThreadPoolExecutor(_THREADS),
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                # Else a second server shares the port, and requests split between two databases.
                ("grpc.so_reuseport", 0),
            ],
        )
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(OneWriterServicer(database), server)
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
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m worker.milvus_lite.server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the database")
    parser.add_argument("--port", type=int, required=True, help="the port on 127.0.0.1")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(serve(arguments.data, arguments.port))


if __name__ == "__main__":
    main()
