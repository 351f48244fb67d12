"""The ledger: every accepted search and every chunk of a job is a row, and the row is the truth."""

from __future__ import annotations

import time
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.tables import Catalogue, Idempotency
from shared.errors import Conflict, UnknownCatalogue


class Idempotent(NamedTuple):
    """An ``Idempotency-Key`` and the digest of the request that came with it."""

    key: str
    digest: str


class Accepted(NamedTuple):
    """The row that a request made, or had made before."""

    id: str
    created: bool


def now_s() -> float:
    """Seconds since 1970: the ledger's clock."""
    return time.time()


def find_catalogue(session: Session, name: str) -> Catalogue:
    """Return the catalogue's row, or raise UnknownCatalogue."""
    row = session.scalar(select(Catalogue).where(Catalogue.name == name))
    if row is None:
        raise UnknownCatalogue(f"There is no catalogue {name!r}. GET /v1/catalogues lists them.", "catalogue")
    return row


def seen_before(session: Session, scope: str, request: Idempotent | None) -> str | None:
    """Return the id that the same request made earlier, or None.

    Raises:
        Conflict: the key came earlier with another request.
    """
    if request is None:
        return None
    row = session.get(Idempotency, (scope, request.key))
    if row is None:
        return None
    if row.digest != request.digest:
        raise Conflict(
            "This Idempotency-Key was used for another request: take a new key.", "Idempotency-Key"
        )
    return row.resource_id


def remember(session: Session, scope: str, request: Idempotent | None, resource_id: str) -> None:
    """Tie the key to the row that is being made in this transaction."""
    if request is not None:
        session.add(
            Idempotency(
                scope=scope,
                key=request.key,
                digest=request.digest,
                resource_id=resource_id,
                created_at=now_s(),
            )
        )
