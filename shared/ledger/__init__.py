"""The ledger: every accepted search and every chunk of a job is a row, and the row is the truth."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.orm import Session

from shared.database.bulk import insert_rows
from shared.database.clock import now_s as now_s  # for those that know the clock from here
from shared.database.tables import Catalogue, Idempotency
from shared.errors import Conflict, UnknownCatalogue

#: How a transaction keeps a catalogue as it is until its end. ``there``: it is not deleted meanwhile, and
#: others may hold it so too. ``alone``: nor does anybody else hold it alone, so that what is checked of its
#: jobs stays true. ``whole``: nobody else holds it at all.
Hold = Literal["there", "alone", "whole"]


class _Lock(NamedTuple):
    read: bool
    key_share: bool


#: Row locks of PostgreSQL; SQLite lets one writer in at a time anyhow.
_LOCKS: Final[dict[Hold, _Lock]] = {
    "there": _Lock(read=True, key_share=True),
    "alone": _Lock(read=False, key_share=True),
    "whole": _Lock(read=False, key_share=False),
}

#: The name that a catalogue has, or had before it was deleted.
shown_name = func.coalesce(Catalogue.deleted_name, Catalogue.name)

# Made once: every search asks it.
_ID_OF = select(Catalogue.id).where(Catalogue.name == bindparam("name"))
_MADE_BEFORE = select(Idempotency.digest, Idempotency.resource_id).where(
    Idempotency.scope == bindparam("scope"), Idempotency.key == bindparam("key")
)


class Idempotent(NamedTuple):
    """An ``Idempotency-Key`` and the digest of the request that came with it."""

    key: str
    digest: str


class Accepted(NamedTuple):
    """The row that a request made, or had made before."""

    id: str
    created: bool


def find_catalogue(session: Session, name: str, hold: Hold | None = None) -> Catalogue:
    """Return the catalogue's row, held if asked to, or raise UnknownCatalogue."""
    query = select(Catalogue).where(Catalogue.name == name)
    if hold is not None:
        lock = _LOCKS[hold]
        query = query.with_for_update(read=lock.read, key_share=lock.key_share)
    row = session.scalar(query)
    if row is None:
        raise _unknown(name)
    return row


def catalogue_id(session: Session | Connection, name: str) -> int:
    """Return the id of a catalogue's row, or raise UnknownCatalogue."""
    found = session.scalar(_ID_OF, {"name": name})
    if found is None:
        raise _unknown(name)
    return int(found)


def _unknown(name: str) -> UnknownCatalogue:
    return UnknownCatalogue(f"There is no catalogue {name!r}. GET /v1/catalogues lists them.", "catalogue")


def seen_before(session: Session | Connection, scope: str, request: Idempotent | None) -> str | None:
    """Return the id that the same request made earlier, or None.

    Raises:
        Conflict: the key came earlier with another request.
    """
    if request is None:
        return None
    row = session.execute(_MADE_BEFORE, {"scope": scope, "key": request.key}).one_or_none()
    if row is None:
        return None
    if row.digest != request.digest:
        raise Conflict(
            "This Idempotency-Key was used for another request: take a new key.", "Idempotency-Key"
        )
    return str(row.resource_id)


def remember(session: Session | Connection, scope: str, request: Idempotent | None, resource_id: str) -> None:
    """Tie the key to the row that is being made in this transaction."""
    if request is not None:
        made = {"scope": scope, "resource_id": resource_id, "created_at": now_s(), **request._asdict()}
        insert_rows(session, Idempotency, [made])
