"""Sessions of signed-in browsers: rows that end by time, by sign-out, or with their key."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from shared.access.uses import UseNotes
from shared.database import Database, execute_rowcount
from shared.database.clock import now_s
from shared.database.tables import SessionRow
from shared.errors import NotFound

#: Maximum age of a session, and how long one of an owner may be idle.
SESSION_S = 12 * 3600.0
OWNER_IDLE_S = 30 * 60.0
#: How long a session is cached: a sign-out acts within this time in every process.
CACHE_TTL_S = 2.0
_ID_LENGTH = 12
_MAX_BROWSER_CHARS = 200


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A stored session.

    Attributes:
        credential: what it signed in with; see ``web.http.sessions``.
    """

    digest: str
    credential: str
    address: str
    browser: str
    created_at: float
    seen_at: float

    @property
    def id(self) -> str:
        """Name of the session in lists; it opens nothing."""
        return self.digest[:_ID_LENGTH]

    @property
    def is_too_old(self) -> bool:
        return self.created_at + SESSION_S <= now_s()


class SessionRepository:
    """Stores sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, credential: str, address: str, browser: str) -> str:
        """Create a session; return the secret text of its cookie, which is not stored."""
        token, now = secrets.token_urlsafe(32), now_s()
        with self._database.write() as session:
            session.add(
                SessionRow(
                    digest=_digest(token),
                    credential=credential,
                    address=address,
                    browser=browser[:_MAX_BROWSER_CHARS],
                    created_at=now,
                    seen_at=now,
                )
            )
        return token

    def find(self, digest: str) -> SessionRecord | None:
        """Return the session with this digest, also one that is too old."""
        with self._database.read() as session:
            row = session.get(SessionRow, digest)
            return None if row is None else _record(row)

    def list_sessions(self) -> list[SessionRecord]:
        """Return the sessions that are not too old, newest first."""
        with self._database.read() as session:
            rows = session.scalars(
                select(SessionRow)
                .where(SessionRow.created_at > now_s() - SESSION_S)
                .order_by(SessionRow.created_at.desc())
            )
            return [_record(row) for row in rows]

    def end(self, session_id: str) -> None:
        """End the session with this id. Raises NotFound."""
        is_it = SessionRow.digest.startswith(session_id, autoescape=True)
        with self._database.write() as session:
            if len(session_id) != _ID_LENGTH or not execute_rowcount(
                session, delete(SessionRow).where(is_it)
            ):
                raise NotFound(f"There is no session {session_id!r}: it has ended already.")

    def end_token(self, token: str) -> None:
        """End the session of a cookie, if it exists."""
        with self._database.write() as session:
            session.execute(delete(SessionRow).where(SessionRow.digest == _digest(token)))

    def end_all(self) -> int:
        """End all sessions; return their number."""
        with self._database.write() as session:
            return execute_rowcount(session, delete(SessionRow))

    def end_of(self, credential: str) -> None:
        """End the sessions that signed in with a credential."""
        with self._database.write() as session:
            session.execute(delete(SessionRow).where(SessionRow.credential == credential))

    def write_last_uses(self, seen_at: Mapping[str, float]) -> None:
        """Store when sessions were last used, by digest."""
        with self._database.write() as session:
            for digest, seen in seen_at.items():
                session.execute(update(SessionRow).where(SessionRow.digest == digest).values(seen_at=seen))

    def delete_expired(self) -> int:
        """Delete the sessions that are too old; return their number."""
        with self._database.write() as session:
            return execute_rowcount(
                session, delete(SessionRow).where(SessionRow.created_at <= now_s() - SESSION_S)
            )


class SessionRing:
    """Finds sessions with one cached look-up per request.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, sessions: SessionRepository, clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._clock = clock
        self._cached: dict[str, tuple[float, SessionRecord]] = {}
        self.uses = UseNotes(sessions.write_last_uses, clock)

    def find(self, token: str) -> SessionRecord | None:
        """Return the session of a cookie; None for one that never began, has ended or is too old."""
        digest = _digest(token)
        until, record = self._cached.get(digest, (float("-inf"), None))
        if record is None or until <= self._clock():
            record = self._sessions.find(digest)
            if record is None:
                self._cached.pop(digest, None)
                return None
            self._cached[digest] = (self._clock() + CACHE_TTL_S, record)
        if record.is_too_old:
            self._cached.pop(digest, None)
            return None
        return record

    def is_idle(self, record: SessionRecord) -> bool:
        """Return whether the session of an owner was not used for too long."""
        return max(record.seen_at, self.uses.last_use(record.digest)) + OWNER_IDLE_S <= now_s()

    def forget(self) -> None:
        """Drop the cache after a change of sessions in this process."""
        self._cached.clear()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _record(row: SessionRow) -> SessionRecord:
    return SessionRecord(row.digest, row.credential, row.address, row.browser, row.created_at, row.seen_at)
