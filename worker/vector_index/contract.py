"""The contract of the vector index, and its rows and hits."""

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
        number: 0 is the main object; the others follow by confidence.
        price: 0 or more; None where the product has none.
        facts: what filters ask besides category, price and product id.
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
    """One neighbour: ``score`` is the cosine, -1 to 1, higher is nearer."""

    key: str
    product_id: str
    image_id: str
    number: int
    score: float


class VectorIndex(Protocol):
    """A vector index. Raises ``IndexUnavailable`` when it cannot be reached."""

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        ...

    def create(self, collection: str, dim: int, wait: bool = True) -> None:
        """Create the collection with its index unless it exists.

        Args:
            wait: until it can be searched; it can be written to at once.

        Raises:
            Misconfigured: it exists with another dim.
        """
        ...

    def drop(self, collection: str) -> None: ...

    def collections(self, timeout_s: float | None = None) -> list[str]: ...

    def set_alias(self, alias: str, collection: str) -> None:
        """Point the alias for outside tools at the collection, best effort; a failure is logged."""
        ...

    def remove_alias(self, alias: str) -> None:
        """Take an alias away; no effect when it is missing."""
        ...

    def resolve_alias(self, alias: str) -> str | None: ...

    def upsert(self, collection: str, rows: Sequence[IndexRow]) -> None:
        """Write rows, keyed; same key twice: the last wins.

        Raises:
            InvalidInput: a wrong dim, NaN, or a norm that is not 1; nothing was written.
        """
        ...

    def delete(self, collection: str, keys: Sequence[str]) -> None:
        """Delete by key; missing keys are no error."""
        ...

    def search(
        self, collection: str, queries: Embeddings, limit: int, filter_: Filter | None = None
    ) -> list[list[IndexHit]]:
        """Return up to ``limit`` hits a query, best first, of what the filter keeps.

        Args:
            collection: or an alias.
            filter_: from ``shared.filters.parse``; join several with ``both``. Filters are hashable.

        Raises:
            Conflict: the collection is from before the fields that the filter asks: the message, for
                who searches, says how to bring them.
        """
        ...

    def count(self, collection: str) -> int: ...

    def sorted_keys(self, collection: str, filter_: str | None = None) -> Iterator[str]:
        """Yield the primary keys, of what the filter keeps, in ascending order; for reconciliation."""
        ...

    def flush(self, collection: str, wait: bool = True) -> None: ...

    def healthy(self) -> bool: ...

    def describe(self) -> dict[str, Any]:
        """Kind (lite | server), version and address, for ``vitrine status``."""
        ...
