"""Read and write embeddings in Milvus: Lite, the 2.3 server, 2.4 and later alike.

Consistency, and why:

- ``search`` is ``Bounded``: it does not wait for the write-ahead log, for which ``Strong`` takes 200 ms on
  a server. A finished write is visible within 2 s there, and immediately on Lite.
- ``count`` and ``sorted_keys`` are ``Strong``: reconciliation must not miss a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
from pymilvus.exceptions import MilvusException

from shared.errors import Conflict, IndexUnavailable, InvalidInput, Misconfigured, VitrineError
from shared.filters import Filter
from worker.vector_index.aliases import Aliases
from worker.vector_index.connection import BULK_TIMEOUT_S
from worker.vector_index.contract import IndexHit, IndexRow
from worker.vector_index.errors import translate_error
from worker.vector_index.filters import matches, to_expression
from worker.vector_index.rows import check_embeddings, split_by_bytes, to_entity, to_hit
from worker.vector_index.schema import Shape, index_params, new_schema, to_shape
from worker.vision import Embeddings

#: Maximum number of hits per query.
MAX_LIMIT = 16384
# Minimum search effort of HNSW (`ef`): rows visited per search. With a filter many paths of the graph lead
# to rows that it excludes: at 64, a filter that keeps 10 % finds half of the true nearest (docs/milvus.md).
_EF, _EF_FILTERED = 64, 4096
_BATCH_BYTES = 4 << 20
_BATCH_KEYS = 1000
_BATCH_QUERIES = 512
# Milvus' maximum per response. Lite scans all keys for each batch, so that larger ones are faster.
_BATCH_LISTED_KEYS = 16384


class MilvusIndex(Aliases):
    """``VectorIndex`` on any Milvus. Connects at first use and after a fork; safe across threads.

    Args:
        uri: ``http://host:port``, ``https://host:port`` or ``unix:path``. The path of a database is
            refused: it would open Milvus Lite in this process, and only one process may open it.
        token: ``user:password`` or an API key, if the server requires one.
        timeout_s: of each call; loading and flushing have at least 120 s.

    Raises:
        Misconfigured: ``uri`` has another form.
    """

    def __init__(self, uri: str, token: str | None = None, timeout_s: float = 10.0) -> None:
        super().__init__(uri, token, timeout_s)
        self._shapes: dict[str, Shape] = {}

    def create(self, collection: str, dim: int, wait: bool = True) -> None:
        """Create the collection with its index and load it, or complete an unfinished one.

        Args:
            wait: return only once it can be searched, which takes a server 3 s; it can be written to
                immediately.

        Raises:
            Misconfigured: it exists with another dimension.
        """
        if not self._call("has_collection", collection):
            try:
                self._call(
                    "create_collection", collection, schema=new_schema(dim), consistency_level="Bounded"
                )
            except VitrineError:
                # Another process may have created it first; if not, the first error is the cause.
                if not self._call("has_collection", collection):
                    raise
        found = self._shape(collection, fresh=True).dim
        if found != dim:
            raise Misconfigured(f"The collection {collection} holds {found} dimensions, not {dim}.")
        if not self._call("list_indexes", collection):
            # The collection is empty: there is nothing to wait for, and the client would wait 0.5 s.
            self._call("create_index", collection, index_params(), sync=False)
        self.ensure_loaded(collection, wait)

    def drop(self, collection: str) -> None:
        """Drop the collection; no effect when it is missing.

        Raises:
            Conflict: an alias points at it, or it is an alias.
        """
        # Milvus Lite and 2.3 would drop an aliased collection without an error.
        if collection not in self.collections():
            if self.resolve_alias(collection) is not None:
                raise Conflict(f"{collection} is an alias; drop the collection behind it.")
            return
        aliases = self._call("list_aliases", collection)["aliases"]
        if aliases:
            raise Conflict(f"The collection {collection} is in use as {', '.join(sorted(aliases))}.")
        self._shapes.pop(collection, None)
        self._call("drop_collection", collection)

    def upsert(self, collection: str, rows: Sequence[IndexRow]) -> None:
        """Write rows by key, the last row of a key wins; all are validated before any is written.

        A failure in a later batch leaves the earlier ones written: repeat the call.

        Raises:
            InvalidInput: a wrong dimension, a value that is not finite, a norm that is not 1, or a text that
                is too long.
            NotFound: there is no such collection.
        """
        if not rows:
            return
        last, shape = list({row.key: row for row in rows}.values()), self._shape(collection)
        try:
            self._upsert(collection, last, shape)
        except VitrineError:
            # Another process may have recreated the collection with the current fields.
            now = self._shape(collection, fresh=True)
            if now == shape:
                raise
            self._upsert(collection, last, now)

    def _upsert(self, collection: str, rows: Sequence[IndexRow], shape: Shape) -> None:
        if {row.embedding.shape for row in rows} != {(shape.dim,)}:
            raise InvalidInput(f"{collection} takes embeddings of {shape.dim} dimensions.")
        check_embeddings(np.stack([row.embedding for row in rows]))
        entities = [to_entity(row, shape.fields) for row in rows]
        for batch in split_by_bytes(entities, _BATCH_BYTES):
            self._call("upsert", collection, batch)

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        """Delete rows by key; missing keys are ignored."""
        for start in range(0, len(keys), _BATCH_KEYS):
            # Not ``ids=``: the client would quote them as Python strings.
            self._call("delete", collection, filter=matches("key", keys[start : start + _BATCH_KEYS]))

    def search(
        self, collection: str, queries: Embeddings, limit: int, filter_: Filter | None = None
    ) -> list[list[IndexHit]]:
        """Return up to ``limit`` hits per query of ``(N, D) float32`` normalised queries, best first.

        Raises:
            InvalidInput: queries of another dimension, not finite or not normalised; a bad limit.
            NotFound: there is no such collection or alias.
            Conflict: the collection lacks the fields of the filter, because an older version wrote it.
        """
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidInput(f"limit is 1 to {MAX_LIMIT}.", "limit")
        if len(queries) == 0:
            return []
        self._check_dim(collection, {queries.shape[1:]})
        check_embeddings(queries)
        found: list[list[IndexHit]] = []
        for start in range(0, len(queries), _BATCH_QUERIES):
            part = queries[start : start + _BATCH_QUERIES]
            if filter_ is None:
                found += self._search(collection, part, limit, "")
            else:
                found += self._search_filtered(collection, part, limit, filter_)
        return found

    def _search_filtered(
        self, collection: str, queries: Embeddings, limit: int, filter_: Filter
    ) -> list[list[IndexHit]]:
        """Search with the cached fields of the collection, then with its current ones."""
        try:
            fields = self._shape(collection).fields
            return self._search(collection, queries, limit, to_expression(filter_, fields))
        except (Conflict, InvalidInput):
            # An alias may have moved since.
            fields = self._shape(collection, fresh=True).fields
            return self._search(collection, queries, limit, to_expression(filter_, fields))

    def _search(
        self, collection: str, queries: Embeddings, limit: int, expression: str
    ) -> list[list[IndexHit]]:
        ef = _EF_FILTERED if expression else _EF
        answers = self._call_loaded(
            "search",
            collection,
            data=list(np.ascontiguousarray(queries, dtype=np.float32)),
            anns_field="embedding",
            limit=limit,
            filter=expression,
            output_fields=["product_id", "image_id", "number"],
            search_params={"metric_type": "COSINE", "params": {"ef": max(ef, 2 * limit)}},
            consistency_level="Bounded",
        )
        return [[to_hit(hit) for hit in hits] for hits in answers]

    def count(self, collection: str) -> int:
        """Return the exact number of rows, all finished writes included."""
        answer = self._call_loaded(
            "query", collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(answer[0]["count(*)"])

    def sorted_keys(self, collection: str, filter_: str | None = None) -> Iterator[str]:
        """Yield the primary keys in ascending order of their bytes, in constant memory.

        Rows written before the call are included; rows written during the iteration may be.

        Args:
            filter_: expression that rows must match.

        Raises:
            IndexUnavailable: Milvus became unreachable, or returned keys out of order.
        """
        # Milvus 2.3's iterator ignores the consistency level; a strong count waits for the writes first.
        self.count(collection)
        iterator = self._call_loaded(
            "query_iterator",
            collection,
            batch_size=_BATCH_LISTED_KEYS,
            filter=filter_ or 'key >= ""',
            output_fields=["key"],
            consistency_level="Strong",
        )
        last = ""
        try:
            while batch := iterator.next():
                for row in batch:
                    # The iterator resumes after the last key: keys out of order would mean missing ones.
                    if row["key"] <= last:
                        raise IndexUnavailable(f"Milvus listed {row['key']!r} after {last!r}.")
                    last = row["key"]
                    yield last
        except (MilvusException, grpc.RpcError) as error:
            raise translate_error(error) from error
        finally:
            iterator.close()

    def flush(self, collection: str, wait: bool = True) -> None:
        """Seal written rows into segments, which then get their index; only useful after a bulk write.

        Args:
            wait: return only once it is done; otherwise it happens in the background. Unflushed rows are not
                lost.
        """
        self._shape(collection, fresh=True)  # Lite ignores a missing collection
        self._call("flush", collection, timeout=max(self._timeout_s, BULK_TIMEOUT_S), _async=not wait)

    def healthy(self) -> bool:
        """Return whether Milvus answers within 2 s."""
        try:
            self._call("list_collections", timeout=min(2.0, self._timeout_s))
        except VitrineError:
            return False
        return True

    def describe(self) -> dict[str, Any]:
        """Return ``kind`` (lite or server), ``version`` and ``address``, without secrets."""
        version = str(self._call("get_server_version"))
        parts = urlsplit(self._uri)
        address = self._uri if parts.hostname is None else f"{parts.hostname}:{parts.port or 19530}"
        kind = "lite" if version.startswith("milvus_lite") else "server"
        return {"kind": kind, "version": version.removeprefix("milvus_lite-"), "address": address}

    def _shape(self, collection: str, fresh: bool = False) -> Shape:
        """Describe a collection from the cache, which may be stale where an alias moved."""
        if fresh or collection not in self._shapes:
            self._shapes[collection] = to_shape(self._call("describe_collection", collection))
        return self._shapes[collection]

    def _check_dim(self, collection: str, shapes: set[tuple[int, ...]]) -> None:
        if any(shapes == {(self._shape(collection, fresh).dim,)} for fresh in (False, True)):
            return
        raise InvalidInput(f"{collection} takes embeddings of {self._shape(collection).dim} dimensions.")
