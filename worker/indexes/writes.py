"""Rows into all collections of an index version, and out of them: two during a rebuild, else one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.errors import IndexUnavailable, NotFound
from worker.indexes.versions import IndexVersion
from worker.vector_index.contract import IndexRow, VectorIndex


def write_rows(index: VectorIndex, version: IndexVersion, rows: Sequence[IndexRow]) -> None:
    """Upsert rows wherever the version keeps them.

    Raises:
        IndexUnavailable: its collection is gone and no rebuild fills another; or Milvus is away.
    """
    if not rows:
        return
    for collection in version.collections:
        try:
            index.upsert(collection, rows)
        except NotFound as error:
            _must_be_replaced(version, collection, error)


def delete_rows(index: VectorIndex, versions: Iterable[IndexVersion], keys: Sequence[str]) -> None:
    """Delete rows by key from every version; where a retired one's collection is gone, they are too.

    Raises:
        IndexUnavailable: a collection that is written to is gone; or Milvus is away.
    """
    if not keys:
        return
    for version in versions:
        for collection in version.collections:
            try:
                index.delete(collection, keys)
            except NotFound as error:
                if version.state != "retired":
                    _must_be_replaced(version, collection, error)


def _must_be_replaced(version: IndexVersion, collection: str, error: NotFound) -> None:
    """What is gone may be left out only while a rebuild fills the collection beside it."""
    if collection == version.beside or version.beside is None:
        advice = "`vitrine rebuild CATALOGUE` brings it back."
        if version.state != "live":
            number = version.number
            advice = f"`vitrine rebuild CATALOGUE --index {number}` brings it back, `vitrine prune` drops it."
        raise IndexUnavailable(f"The collection {collection} is gone: {advice}") from error
