"""Rows into all collections of an index version, and out of them: two during a rebuild, else one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.errors import IndexUnavailable, NotFound
from worker.indexes.versions import IndexVersion
from worker.vector_index.contract import IndexRow, VectorIndex


def write_rows(
    index: VectorIndex, version: IndexVersion, rows: Sequence[IndexRow], only: str | None = None
) -> None:
    """Upsert rows to the collections of a version.

    Args:
        only: the one collection to write to.

    Raises:
        IndexUnavailable: its collection is gone and no rebuild fills another; or Milvus is away.
        NotFound: the collection ``only`` is gone.
    """
    if not rows:
        return
    for collection in _collections(version, only):
        try:
            index.upsert(collection, rows)
        except NotFound as error:
            if only is not None:
                raise
            _require_replacement(version, collection, error)


def delete_rows(
    index: VectorIndex, versions: Iterable[IndexVersion], keys: Sequence[str], only: str | None = None
) -> None:
    """Delete rows by key from every version; a missing collection of a retired one has none.

    Args:
        only: the one collection to delete from.

    Raises:
        IndexUnavailable: a collection that is written to is gone; or Milvus is away.
        NotFound: the collection ``only`` is gone.
    """
    if not keys:
        return
    for version in versions:
        for collection in _collections(version, only):
            try:
                index.delete(collection, keys)
            except NotFound as error:
                if only is not None:
                    raise
                if version.state != "retired":
                    _require_replacement(version, collection, error)


def _collections(version: IndexVersion, only: str | None) -> Sequence[str]:
    return version.collections if only is None else (only,)


def _require_replacement(version: IndexVersion, collection: str, error: NotFound) -> None:
    """Raise IndexUnavailable unless a rebuild fills another collection in place of the missing one."""
    if collection == version.beside or version.beside is None:
        advice = "`vitrine rebuild CATALOGUE` brings it back."
        if version.state != "live":
            number = version.number
            advice = f"`vitrine rebuild CATALOGUE --index {number}` brings it back, `vitrine prune` drops it."
        raise IndexUnavailable(f"The collection {collection} is gone: {advice}") from error
