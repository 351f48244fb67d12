"""The index of embeddings in Milvus: Lite, the 2.3 server, 2.4 and later alike; the one importer of pymilvus.

Consistency, and why:

- ``search`` is ``Bounded``: it does not wait for the write-ahead log, which makes ``Strong`` cost 200 ms
  on a server. A finished write shows within 2 s there, and at once on Lite.
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
from worker.vector_index.errors import translated
from worker.vector_index.filters import expression, matches
from worker.vector_index.rows import check_embeddings, in_batches, to_entity, to_hit
from worker.vector_index.schema import Shape, index_params, new_schema, to_shape
from worker.vision import Embeddings

MAX_LIMIT = 16384
# How many rows a search looks at on its way through the graph. A filter makes the graph's paths lead into
# what it leaves out: with 64 a filter that keeps 10 % finds half of the true nearest (docs/milvus.md).
_EF, _EF_FILTERED = 64, 4096
_BATCH_BYTES = 4 << 20
_BATCH_KEYS = 1000
_BATCH_QUERIES = 512
# The most that one answer may hold: Lite goes through all keys for each.
_BATCH_LISTED = 16384


class MilvusIndex(Aliases):
    """``VectorIndex`` on any Milvus. Connects at first use, anew in a forked child; safe across threads.

    Args:
        uri: ``http://host:port``, ``https://host:port`` or ``unix:path``. The path of a database is
            refused: it would open Milvus Lite inside this process, where only one process may have it.
        token: ``user:password`` or an API key, if the server asks for one.
        timeout_s: of each call; loading and flushing have 120 s if that is more.

    Raises:
        Misconfigured: ``uri`` is of another form.
    """

    def __init__(self, uri: str, token: str | None = None, timeout_s: float = 10.0) -> None:
        super().__init__(uri, token, timeout_s)
        self._shapes: dict[str, Shape] = {}

    def create(self, collection: str, dim: int, wait: bool = True) -> None:
        """Create the collection with its index and load it, or finish one that was begun.

        Args:
            wait: until it can be searched, which takes a server 3 s; it can be written to at once.

        Raises:
            Misconfigured: it exists with another dim.
        """
        if not self._call("has_collection", collection):
            try:
                self._call(
                    "create_collection", collection, schema=new_schema(dim), consistency_level="Bounded"
                )
            except VitrineError:
                # Somebody else may have been quicker; if not, the first error tells why.
                if not self._call("has_collection", collection):
                    raise
        found = self._shape(collection, fresh=True).dim
        if found != dim:
            raise Misconfigured(f"The collection {collection} holds {found} dimensions, not {dim}.")
        if not self._call("list_indexes", collection):
            # Of an empty collection: there is nothing to wait for, and the client would wait 0.5 s.
            self._call("create_index", collection, index_params(), sync=False)
        self.ensure_loaded(collection, wait)

    def drop(self, collection: str) -> None:
        """Drop the collection; no effect when it is missing.

        Raises:
            Conflict: an alias points at it, or it is an alias.
        """
        # Milvus Lite would drop it under the alias without a word.
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
        """Write rows, keyed; same key twice: the last wins. All rows are checked before any is written.

        Raises:
            InvalidInput: a wrong dim, a value that is not finite, a norm that is not 1, or a text that is
                too long. A failure in a later batch leaves the earlier ones written: repeat the call.
            NotFound: there is no such collection.
        """
        if not rows:
            return
        last, shape = list({row.key: row for row in rows}.values()), self._shape(collection)
        try:
            self._upsert(collection, last, shape)
        except VitrineError:
            # The collection may have been made again, with the fields of today.
            now = self._shape(collection, fresh=True)
            if now == shape:
                raise
            self._upsert(collection, last, now)

    def _upsert(self, collection: str, rows: Sequence[IndexRow], shape: Shape) -> None:
        if {row.embedding.shape for row in rows} != {(shape.dim,)}:
            raise InvalidInput(f"{collection} takes embeddings of {shape.dim} dimensions.")
        check_embeddings(np.stack([row.embedding for row in rows]))
        written = [to_entity(row, shape.fields) for row in rows]
        for batch in in_batches(written, _BATCH_BYTES):
            self._call("upsert", collection, batch)

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        """Delete by key; missing keys are no error."""
        for start in range(0, len(keys), _BATCH_KEYS):
            # Not ``ids=``: the client would paste them with Python's quoting.
            self._call("delete", collection, filter=matches("key", keys[start : start + _BATCH_KEYS]))

    def search(
        self, collection: str, queries: Embeddings, limit: int, filter_: Filter | None = None
    ) -> list[list[IndexHit]]:
        """Return up to ``limit`` hits for each of ``(N, D) float32`` normalised queries, best first.

        Raises:
            InvalidInput: queries of another dim, not finite or not normalised; a bad limit.
            NotFound: there is no such collection or alias.
            Conflict: the filter asks what the collection, made by an older Vitrine, does not know.
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
                found += self._nearest(collection, part, limit, "")
            else:
                found += self._nearest_that_pass(collection, part, limit, filter_)
        return found

    def _nearest_that_pass(
        self, collection: str, queries: Embeddings, limit: int, filter_: Filter
    ) -> list[list[IndexHit]]:
        """Search with the fields that the collection is remembered to have, then with those it has."""
        try:
            return self._nearest(
                collection, queries, limit, expression(filter_, self._shape(collection).fields)
            )
        except (Conflict, InvalidInput):
            # An alias points elsewhere since.
            fields = self._shape(collection, fresh=True).fields
            return self._nearest(collection, queries, limit, expression(filter_, fields))

    def _nearest(self, collection: str, queries: Embeddings, limit: int, kept: str) -> list[list[IndexHit]]:
        effort = _EF_FILTERED if kept else _EF
        answers = self._call_loaded(
            "search",
            collection,
            data=list(np.ascontiguousarray(queries, dtype=np.float32)),
            anns_field="embedding",
            limit=limit,
            filter=kept,
            output_fields=["product_id", "image_id", "number"],
            search_params={"metric_type": "COSINE", "params": {"ef": max(effort, 2 * limit)}},
            consistency_level="Bounded",
        )
        return [[to_hit(hit) for hit in hits] for hits in answers]

    def count(self, collection: str) -> int:
        """Return the exact number of rows, every finished write included."""
        answer = self._call_loaded(
            "query", collection, filter="", output_fields=["count(*)"], consistency_level="Strong"
        )
        return int(answer[0]["count(*)"])

    def sorted_keys(self, collection: str, filter_: str | None = None) -> Iterator[str]:
        """Yield the primary keys in ascending order of their bytes, in constant memory.

        What was written before the call is included; what is written meanwhile may be.

        Args:
            filter_: only of the rows that it keeps.

        Raises:
            IndexUnavailable: Milvus went away, or gave keys out of order.
        """
        # Milvus 2.3's iterator takes no heed of the level; a strong count waits for the writes first.
        self.count(collection)
        iterator = self._call_loaded(
            "query_iterator",
            collection,
            batch_size=_BATCH_LISTED,
            filter=filter_ or 'key >= ""',
            output_fields=["key"],
            consistency_level="Strong",
        )
        last = ""
        try:
            while batch := iterator.next():
                for row in batch:
                    # It goes on after the last key that it gave: out of order would mean left out.
                    if row["key"] <= last:
                        raise IndexUnavailable(f"Milvus listed {row['key']!r} after {last!r}.")
                    last = row["key"]
                    yield last
        except (MilvusException, grpc.RpcError) as error:
            raise translated(error) from error
        finally:
            iterator.close()

    def flush(self, collection: str, wait: bool = True) -> None:
        """Seal what was written into segments, which then get their index. After a bulk write only.

        Args:
            wait: until it is done; it is done anyhow, and nothing is lost if it is not.
        """
        self._shape(collection, fresh=True)  # Lite says nothing about a collection that is missing
        self._call("flush", collection, timeout=max(self._timeout_s, BULK_TIMEOUT_S), _async=not wait)

    def healthy(self) -> bool:
        """Tell within 2 s whether Milvus answers."""
        try:
            self._call("list_collections", timeout=min(2.0, self._timeout_s))
        except VitrineError:
            return False
        return True

    def describe(self) -> dict[str, Any]:
        """Return ``kind`` (lite or server), ``version`` and ``address``, which holds no secret."""
        version = str(self._call("get_server_version"))
        parts = urlsplit(self._uri)
        address = self._uri if parts.hostname is None else f"{parts.hostname}:{parts.port or 19530}"
        kind = "lite" if version.startswith("milvus_lite") else "server"
        return {"kind": kind, "version": version.removeprefix("milvus_lite-"), "address": address}

    def _shape(self, collection: str, fresh: bool = False) -> Shape:
        """Describe a collection; what is remembered of an alias may be of the collection before."""
        if fresh or collection not in self._shapes:
            self._shapes[collection] = to_shape(self._call("describe_collection", collection))
        return self._shapes[collection]

    def _check_dim(self, collection: str, shapes: set[tuple[int, ...]]) -> None:
        if any(shapes == {(self._shape(collection, fresh).dim,)} for fresh in (False, True)):
            return
        raise InvalidInput(f"{collection} takes embeddings of {self._shape(collection).dim} dimensions.")
