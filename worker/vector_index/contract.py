"""Define the contract of the vector index, with its rows and hits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.filters import Filter, FilterFields
from worker.vision import Embeddings


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One row of a collection: one embedded detection of a catalogue image.

    Attributes:
        key: ``<image_id>-<number>``, at most 64 characters; the primary key.
        number: of the object in its image; 0 is the main object, others follow by confidence.
        price: 0 or more; None where the product has none.
        facts: fields for filters other than category, price and product id.
    """

    key: str
    product_id: str
    image_id: str
    number: int
    category: str
    price: float | None
    embedding: NDArray[np.float32]
    facts: FilterFields = field(default_factory=FilterFields)


class IndexHit(NamedTuple):
    """A nearest neighbour; ``score`` is the cosine, -1 to 1, higher is nearer."""

    key: str
    product_id: str
    image_id: str
    number: int
    score: float


class VectorIndex(Protocol):
    """A vector index. Every method raises ``IndexUnavailable`` when it cannot be reached."""

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        ...

    def create(self, collection: str, dim: int, wait: bool = True) -> None:
        """Create the collection with its index unless it exists.

        Args:
            wait: return only once it can be searched; it can be written to immediately.

        Raises:
            Misconfigured: it exists with another dimension.
        """
        ...

    def drop(self, collection: str) -> None:
        """Drop the collection; no effect when it is missing."""
        ...

    def collections(self, timeout_s: float | None = None) -> list[str]:
        """Return the names of all collections, sorted."""
        ...

    def set_alias(self, alias: str, collection: str) -> None:
        """Point the alias for outside tools at the collection, best effort; a failure is logged."""
        ...

    def remove_alias(self, alias: str) -> None:
        """Drop an alias; no effect when it is missing."""
        ...

    def resolve_alias(self, alias: str) -> str | None:
        """Return the collection behind the alias, or None when there is no such alias."""
        ...

    def upsert(self, collection: str, rows: Sequence[IndexRow]) -> None:
        """Write rows by key; the last row of a key wins.

        Raises:
            InvalidInput: a wrong dimension, NaN, or a norm that is not 1; nothing was written.
        """
        ...

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        """Delete rows by key; missing keys are ignored."""
        ...

    def search(
        self, collection: str, queries: Embeddings, limit: int, filter_: Filter | None = None
    ) -> list[list[IndexHit]]:
        """Return up to ``limit`` hits per query, best first, that pass the filter.

        Args:
            collection: or an alias.
            queries: ``(N, D) float32``, normalised.
            filter_: from ``shared.filters.parse``; join several with ``both``. Filters are hashable.

        Raises:
            Conflict: the collection lacks the fields of the filter, because an older version wrote it.
        """
        ...

    def count(self, collection: str) -> int:
        """Return the exact number of rows, all finished writes included."""
        ...

    def sorted_keys(self, collection: str, filter_: str | None = None) -> Iterator[str]:
        """Yield the primary keys of rows that pass the filter, in ascending order; for reconciliation."""
        ...

    def flush(self, collection: str, wait: bool = True) -> None:
        """Seal written rows into segments, which then get their index."""
        ...

    def healthy(self) -> bool:
        """Return whether the index answers within 2 s."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return ``kind`` (lite or server), ``version`` and ``address``, for ``vitrine status``."""
        ...
