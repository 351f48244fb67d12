"""Store idempotency keys, so that a repeated request returns the row that it created before."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session

from shared.database.bulk import insert_rows
from shared.database.clock import now_s
from shared.database.tables import Idempotency
from shared.errors import Conflict

_EARLIER_REQUEST = select(Idempotency.digest, Idempotency.resource_id).where(
    Idempotency.scope == bindparam("scope"), Idempotency.key == bindparam("key")
)


class Idempotent(NamedTuple):
    """An ``Idempotency-Key`` and the digest of the request that came with it."""

    key: str
    digest: str


class AcceptedRequest(NamedTuple):
    """The row that a request created, now or before.

    Attributes:
        created_at: creation time of a new search in seconds since 1970; None for others.
    """

    id: str
    created: bool
    created_at: float | None = None


def find_earlier_request(session: Session | Connection, scope: str, request: Idempotent | None) -> str | None:
    """Return the id of the row that the same request created earlier, or None.

    Raises:
        Conflict: the key was used for another request.
    """
    if request is None:
        return None
    row = session.execute(_EARLIER_REQUEST, {"scope": scope, "key": request.key}).one_or_none()
    if row is None:
        return None
    if row.digest != request.digest:
        raise Conflict(
            "This Idempotency-Key was used for another request: send a new key.", "Idempotency-Key"
        )
    return str(row.resource_id)


def store_idempotency_key(
    session: Session | Connection, scope: str, request: Idempotent | None, resource_id: str
) -> None:
    """Store the key with the id of the row that this transaction creates."""
    if request is not None:
        row = {"scope": scope, "resource_id": resource_id, "created_at": now_s(), **request._asdict()}
        insert_rows(session, Idempotency, [row])
