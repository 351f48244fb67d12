"""The audit log: sign-ins, refused keys, and changes. Rows are added, deleted when old, and never updated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import delete, select

from shared.contracts.audit import AuditEntryOut
from shared.contracts.stored import readable_views
from shared.database import Database, execute_rowcount
from shared.database.bulk import insert_rows
from shared.database.clock import now_s, to_datetime
from shared.database.tables import AuditEntry
from shared.process.log import get_logger

log = get_logger("vitrine.audit")

_MAX_OBJECT_CHARS = 400
_PAGE = 1000


class AuditLog:
    """Adds entries to the table and to the log, and reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self, *, actor: str, address: str, action: str, object_: str, outcome: int, request_id: str
    ) -> None:
        """Add an entry.

        Args:
            actor: key, session or visitor; never a secret.
            action: name of the endpoint, such as ``keys.create_key``.
            object_: address that was called, and the id that it created.
            outcome: HTTP status.

        Raises:
            DatabaseUnavailable: the entry is in the log alone.
        """
        entry = {
            "actor": actor,
            "address": address,
            "action": action,
            "object": object_[:_MAX_OBJECT_CHARS],
            "outcome": outcome,
            "request_id": request_id,
        }
        log.info("audit", **{name: value for name, value in entry.items() if name != "request_id"})
        with self._database.write_connection() as connection:
            insert_rows(connection, AuditEntry, [{"at": now_s(), **entry}])

    def list_page(self, before: int | None = None, limit: int = 100) -> list[AuditEntryOut]:
        """Return entries, newest first; ``before``: the id of the last entry of the previous page."""
        query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
        if before is not None:
            query = query.where(AuditEntry.id < before)
        with self._database.read() as session:
            return readable_views(session.scalars(query), _out, "audit entry")

    def iterate_all(self) -> Iterator[AuditEntryOut]:
        """Yield all entries, newest first, a page per transaction."""
        before: int | None = None
        while found := self.list_page(before, _PAGE):
            yield from found
            before = found[-1].id

    def delete_expired(self, keep_s: float) -> int:
        """Delete entries older than ``keep_s`` seconds; return their number."""
        with self._database.write() as session:
            return execute_rowcount(session, delete(AuditEntry).where(AuditEntry.at < now_s() - keep_s))


def _out(row: AuditEntry) -> AuditEntryOut:
    at = to_datetime(row.at)
    assert isinstance(at, datetime)
    return AuditEntryOut(
        id=row.id,
        at=at,
        actor=row.actor,
        address=row.address,
        action=row.action,
        object=row.object,
        outcome=row.outcome,
        request_id=row.request_id,
    )
