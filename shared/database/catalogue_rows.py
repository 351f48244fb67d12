"""Find and lock rows of catalogues."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.database.tables import Catalogue
from shared.errors import UnknownCatalogue

#: Row locks until the end of a transaction. ``key_share`` prevents the deletion of the catalogue and can be
#: shared. ``no_key_update`` excludes other holders of itself, so that checks of the catalogue's jobs stay
#: valid. ``update`` excludes all other locks.
CatalogueLock = Literal["key_share", "no_key_update", "update"]


class _Lock(NamedTuple):
    read: bool
    key_share: bool


#: Arguments of ``with_for_update`` (PostgreSQL); SQLite has one writer at a time anyway.
_LOCKS: Final[dict[CatalogueLock, _Lock]] = {
    "key_share": _Lock(read=True, key_share=True),
    "no_key_update": _Lock(read=False, key_share=True),
    "update": _Lock(read=False, key_share=False),
}

#: Begins the names of the hidden rows that dry runs of new catalogues belong to.
DRY_RUN_PREFIX: Final = "~dry-"
#: Name of a catalogue, also after its deletion.
display_name = func.coalesce(Catalogue.deleted_name, Catalogue.name)


def find_catalogue(session: Session, name: str, lock: CatalogueLock | None = None) -> Catalogue:
    """Return the catalogue's row, locked if a lock is given, or raise UnknownCatalogue."""
    query = select(Catalogue).where(Catalogue.name == name)
    if lock is not None:
        row_lock = _LOCKS[lock]
        query = query.with_for_update(read=row_lock.read, key_share=row_lock.key_share)
    row = session.scalar(query)
    if row is None:
        raise unknown_catalogue(name)
    return row


def unknown_catalogue(name: str) -> UnknownCatalogue:
    """Return the error for a name that no catalogue has."""
    return UnknownCatalogue(f"There is no catalogue {name!r}. GET /v1/catalogues lists them.", "catalogue")
