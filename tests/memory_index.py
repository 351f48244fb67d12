"""A vector index in this process's memory, for tests of what is around an index: SQL, jobs and answers.

It passes the contract tests of ``MilvusIndex`` (tests/integration/test_vector_index.py). It is exact, and
a search sees each write at once: consistency, recall, restarts and aliases under load are tested on Milvus.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from shared.errors import Conflict, InvalidInput, Misconfigured, NotFound
from shared.filters import Filter, passes
from worker.vector_index.contract import IndexHit, IndexRow
from worker.vector_index.filters import FACTS, ORDERED
from worker.vector_index.index import MAX_LIMIT
from worker.vector_index.rows import MAX_BYTES, check_embeddings, to_entity
from worker.vision import Embeddings

# What ``worker.vector_index.matches`` writes; the product lists keys by no other expression.
_MATCHES = re.compile(r"(\w+) in (\[.*\])")


@dataclasses.dataclass
class _Collection:
    dim: int
    rows: dict[str, IndexRow] = dataclasses.field(default_factory=dict)


class MemoryIndex:
    """``VectorIndex`` without a server. Safe across threads; workers of one shop share an instance."""

    #: Nothing listens there: a test that asks a server in spite of this index fails.
    uri = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self._collections: dict[str, _Collection] = {}
        self._aliases: dict[str, str] = {}
        self._lock = threading.RLock()

    def close(self) -> None:
        """Do nothing: the rows outlive a worker, as those in a server do."""

    def create(self, collection: str, dim: int, wait: bool = True) -> None:
        with self._lock:
            found = self._collections.setdefault(collection, _Collection(dim))
        if found.dim != dim:
            raise Misconfigured(f"The collection {collection} holds {found.dim} dimensions, not {dim}.")

    def drop(self, collection: str) -> None:
        with self._lock:
            if collection in {*self._aliases, *self._aliases.values()}:
                raise Conflict(f"The collection {collection} is in use as an alias.")
            self._collections.pop(collection, None)

    def collections(self, timeout_s: float | None = None) -> list[str]:
        with self._lock:
            return sorted(self._collections)

    def set_alias(self, alias: str, collection: str) -> None:
        with self._lock:
            # Best effort, as on Milvus: what it refuses is logged there and changes nothing.
            if collection in self._collections and alias not in self._collections:
                self._aliases[alias] = collection

    def remove_alias(self, alias: str) -> None:
        with self._lock:
            self._aliases.pop(alias, None)

    def resolve_alias(self, alias: str) -> str | None:
        with self._lock:
            return self._aliases.get(alias)

    def upsert(self, collection: str, rows: Sequence[IndexRow]) -> None:
        with self._lock:
            found = self._found(collection)
            # As Milvus does: all rows are checked before one is written.
            for row in rows:
                if row.embedding.shape != (found.dim,):
                    raise InvalidInput(f"{collection} takes embeddings of {found.dim} dimensions.")
                check_embeddings(row.embedding[None])
                to_entity(row, (FACTS, ORDERED))
            for row in rows:
                copied = np.array(row.embedding, dtype=np.float32)
                found.rows[row.key] = dataclasses.replace(row, embedding=copied)

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        with self._lock:
            rows = self._found(collection).rows
            for key in keys:
                rows.pop(key, None)

    def search(
        self, collection: str, queries: Embeddings, limit: int, filter_: Filter | None = None
    ) -> list[list[IndexHit]]:
        if not 1 <= limit <= MAX_LIMIT:
            raise InvalidInput(f"limit is 1 to {MAX_LIMIT}.", "limit")
        with self._lock:
            found = self._found(collection)
            rows = [row for row in found.rows.values() if filter_ is None or passes(filter_, row)]
        if len(queries) and queries.shape[1:] != (found.dim,):
            raise InvalidInput(f"{collection} takes embeddings of {found.dim} dimensions.")
        check_embeddings(queries)
        if not rows:
            return [[] for _ in queries]
        scores = queries @ np.stack([row.embedding for row in rows]).T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
        return [
            [_hit(rows[n], line[n]) for n in nearest] for line, nearest in zip(scores, order, strict=True)
        ]

    def count(self, collection: str) -> int:
        with self._lock:
            return len(self._found(collection).rows)

    def sorted_keys(self, collection: str, filter_: str | None = None) -> Iterator[str]:
        keeps = _condition(filter_)
        with self._lock:
            found = sorted(key for key, row in self._found(collection).rows.items() if keeps(row))
        yield from found

    def ensure_loaded(self, collection: str, wait: bool = True) -> None:
        with self._lock:
            self._found(collection)

    def flush(self, collection: str, wait: bool = True) -> None:
        with self._lock:
            self._found(collection)

    def healthy(self) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        return {"kind": "memory", "version": "test", "address": "this process"}

    def _found(self, name: str) -> _Collection:
        found = self._collections.get(self._aliases.get(name, name))
        if found is None:
            raise NotFound(f"There is no such collection or alias: {name}")
        return found


def _hit(row: IndexRow, score: float) -> IndexHit:
    return IndexHit(row.key, row.product_id, row.image_id, row.number, float(score))


def _condition(text: str | None) -> Callable[[IndexRow], bool]:
    if text is None:
        return lambda row: True
    read = _MATCHES.fullmatch(text)
    if read is None or read[1] not in MAX_BYTES:
        raise InvalidInput(f"The index does not take this: {text}")
    values = set(json.loads(read[2]))
    return lambda row: getattr(row, read[1]) in values
