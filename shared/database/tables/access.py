"""Tables of access control: API keys, sessions, the audit log, and searches that their owner deleted."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.tables.base import Base, Json


class ApiKey(Base):
    """An API key without its secret part."""

    __tablename__ = "api_keys"

    # The part of the key that names it: `vt_PREFIX_SECRET`.
    prefix: Mapped[str] = mapped_column(String(8), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the whole key, hexadecimal
    name: Mapped[str] = mapped_column(String(80))
    role: Mapped[str] = mapped_column(String(16))  # a shared.access.roles.Role
    catalogues: Mapped[list[str] | None] = mapped_column(Json)  # null: all
    origins: Mapped[list[str]] = mapped_column(Json)
    per_minute: Mapped[int | None]  # null: the limit by address
    created_by: Mapped[str | None] = mapped_column(String(8))  # prefix of a key; null: the bootstrap key
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class DeletedSearch(Base):
    """The id of a search that was deleted with its photo, so that its address answers 410."""

    __tablename__ = "deleted_searches"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    deleted_at: Mapped[float] = mapped_column(index=True)


class SessionRow(Base):
    """A signed-in browser; its cookie has a random text of which only the digest is stored."""

    __tablename__ = "sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    # What it signed in with, such as ``key:k3j8w2xa``; ended with it.
    credential: Mapped[str] = mapped_column(String(80))
    address: Mapped[str] = mapped_column(String(64))
    browser: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[float] = mapped_column(index=True)
    seen_at: Mapped[float]


class AuditEntry(Base):
    """A sign-in, a refusal or a change; rows are never updated."""

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(80))
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(80))
    object: Mapped[str] = mapped_column(String(400))
    outcome: Mapped[int]  # HTTP status
    request_id: Mapped[str] = mapped_column(String(64))
