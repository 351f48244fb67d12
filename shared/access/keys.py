"""Create, list, rotate and revoke API keys."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from shared.access.origins import parse_origin
from shared.access.roles import Role
from shared.access.secret import create_secret, digest_of
from shared.contracts.keys import KeyIn, KeyMade, KeyOut
from shared.contracts.stored import readable_views
from shared.database import Database
from shared.database.clock import now_s, to_datetime
from shared.database.tables import ApiKey
from shared.errors import Conflict, InvalidInput, NotFound

#: Maximum number of keys that are neither expired nor revoked.
MAX_KEYS = 1_000
#: Requests per minute of a publishable key, which anyone can copy from a page.
DEFAULT_SEARCH_PER_MINUTE = 600


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A stored key.

    Attributes:
        catalogues: the only ones that it may access; None: all.
    """

    prefix: str
    digest: str
    name: str
    role: Role
    catalogues: frozenset[str] | None
    origins: frozenset[str]
    per_minute: int | None
    expires_at: float | None
    revoked_at: float | None

    def matches(self, key: str) -> bool:
        """Compare a whole key in constant time."""
        return hmac.compare_digest(self.digest, digest_of(key))

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now_s()

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at is not None


class KeyRepository:
    """Stores API keys; ``KeyRing`` caches them for the checks of requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, wanted: KeyIn, created_by: str | None = None) -> KeyMade:
        """Create a key; return it with its secret, which no other call returns.

        Raises:
            InvalidInput: the role does not fit the catalogues or origins.
            Conflict: there are ``MAX_KEYS`` already.
        """
        origins = _check(wanted)
        now = now_s()
        with self._database.write() as session:
            _require_room(session)
            row, key = _add(
                session,
                name=wanted.name,
                role=wanted.role,
                catalogues=sorted(set(wanted.catalogues)) or None,
                origins=origins,
                per_minute=wanted.per_minute
                or (DEFAULT_SEARCH_PER_MINUTE if wanted.role == "search" else None),
                created_by=created_by,
                created_at=now,
                expires_at=None if wanted.expires_in_s is None else now + wanted.expires_in_s,
            )
            return KeyMade(**_out(row).model_dump(), key=key)

    def list_keys(self) -> list[KeyOut]:
        """Return all keys, newest first."""
        with self._database.read() as session:
            rows = session.scalars(select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.prefix))
            return readable_views(rows, _out, "API key")

    def rotate(self, prefix: str, grace_s: float, created_by: str | None = None) -> KeyMade:
        """Create a key with the rights of another, which expires after ``grace_s`` seconds.

        The new key lives as long as the old one was meant to live.

        Raises:
            NotFound: no such key.
            Conflict: it is revoked or expired.
        """
        with self._database.write() as session:
            old = _find(session, prefix)
            if _state(old) != "active":
                raise Conflict(f"The key {prefix} is {_state(old)}. Create a new one instead.")
            _require_room(session)
            now = now_s()
            lifetime_s = _meant_lifetime_s(session, old)
            row, key = _add(
                session,
                name=old.name,
                role=old.role,
                catalogues=old.catalogues,
                origins=old.origins,
                per_minute=old.per_minute,
                created_by=created_by,
                created_at=now,
                expires_at=None if lifetime_s is None else now + lifetime_s,
            )
            old.expires_at = min(now + grace_s, old.expires_at or now + grace_s)
            return KeyMade(**_out(row).model_dump(), key=key)

    def revoke(self, prefix: str) -> KeyOut:
        """Revoke a key for good; a revoked key stays as it is. Raises NotFound."""
        with self._database.write() as session:
            row = _find(session, prefix)
            row.revoked_at = row.revoked_at or now_s()
            return _out(row)

    def find(self, prefix: str) -> KeyRecord | None:
        """Return the key with this prefix, also an expired or revoked one."""
        with self._database.read() as session:
            row = session.get(ApiKey, prefix)
            return None if row is None else _record(row)

    def live_origins(self) -> frozenset[str]:
        """Return the origins that keys list which are neither expired nor revoked."""
        with self._database.read() as session:
            rows = session.scalars(select(ApiKey.origins).where(*_live()))
            return frozenset(origin for origins in rows for origin in origins)

    def write_last_uses(self, used_at: Mapping[str, float]) -> None:
        """Store when keys were last used, by prefix in seconds since 1970."""
        with self._database.write() as session:
            for prefix, used in used_at.items():
                session.execute(update(ApiKey).where(ApiKey.prefix == prefix).values(last_used_at=used))


def _check(wanted: KeyIn) -> list[str]:
    """Return the normalised origins; raise InvalidInput if the role does not fit the rest."""
    role = Role(wanted.role)
    if role is Role.SEARCH and len(set(wanted.catalogues)) != 1:
        raise InvalidInput("A `search` key is for exactly one catalogue. Name it.", "catalogues")
    if role is Role.OWNER and wanted.catalogues:
        raise InvalidInput(
            "An `owner` key is for all catalogues. Name none, or choose another role.", "catalogues"
        )
    if role is not Role.SEARCH and wanted.origins:
        raise InvalidInput(
            f"Only `search` keys may be used in pages. A `{role}` key is secret: leave out its origins.",
            "origins",
        )
    return sorted({parse_origin(origin) for origin in wanted.origins})


def _live() -> tuple[ColumnElement[bool], ...]:
    return ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now_s())


def _require_room(session: Session) -> None:
    count = session.scalar(select(func.count()).select_from(ApiKey).where(*_live())) or 0
    if count >= MAX_KEYS:
        raise Conflict(f"There are {count} active keys already. Revoke those that nothing uses.")


def _add(session: Session, **columns: object) -> tuple[ApiKey, str]:
    prefix, key = create_secret()
    while session.get(ApiKey, prefix) is not None:
        prefix, key = create_secret()
    row = ApiKey(prefix=prefix, digest=digest_of(key), **columns)
    session.add(row)
    return row, key


def _find(session: Session, prefix: str) -> ApiKey:
    row = session.get(ApiKey, prefix)
    if row is None:
        raise NotFound(f"There is no key {prefix!r}. GET /v1/keys lists the ids of all keys.")
    return row


def _meant_lifetime_s(session: Session, old: ApiKey) -> float | None:
    """Return how long a key was meant to live; None: for ever.

    An earlier rotation has shortened its life to the grace. The newest key with the same name and rights was
    made by that rotation, so it has the lifetime that was meant.
    """
    if old.expires_at is None:
        return None
    newer = session.scalars(
        select(ApiKey)
        .where(ApiKey.name == old.name, ApiKey.role == old.role, ApiKey.created_at > old.created_at)
        .order_by(ApiKey.created_at.desc())
    )
    meant = next((row for row in newer if _rights(row) == _rights(old)), old)
    return None if meant.expires_at is None else meant.expires_at - meant.created_at


def _rights(row: ApiKey) -> tuple[object, ...]:
    return row.catalogues, row.origins, row.per_minute


def _state(row: ApiKey) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now_s() else "active"


def _record(row: ApiKey) -> KeyRecord:
    return KeyRecord(
        prefix=row.prefix,
        digest=row.digest,
        name=row.name,
        role=Role(row.role),
        catalogues=None if row.catalogues is None else frozenset(row.catalogues),
        origins=frozenset(row.origins),
        per_minute=row.per_minute,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _out(row: ApiKey) -> KeyOut:
    return KeyOut.model_validate(
        {
            "id": row.prefix,
            "name": row.name,
            "role": row.role,
            "catalogues": row.catalogues or [],
            "origins": row.origins,
            "per_minute": row.per_minute,
            "state": _state(row),
            "created_at": to_datetime(row.created_at),
            "expires_at": to_datetime(row.expires_at),
            "revoked_at": to_datetime(row.revoked_at),
            "last_used_at": to_datetime(row.last_used_at),
        }
    )
