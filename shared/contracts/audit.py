"""Entries of the audit log, and sessions, as answers describe them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from shared.contracts.base import Contract


class AuditEntryOut(Contract):
    """A sign-in, a refused key, or a change."""

    id: int
    at: datetime
    actor: str = Field(description="Key, session or visitor; `unknown` for a wrong key")
    address: str
    action: str
    object: str = Field(description="The address that was called, and an id that it created")
    outcome: int = Field(description="HTTP status")
    request_id: str


class SessionOut(Contract):
    """A signed-in browser."""

    id: str
    credential: str = Field(description="What it signed in with: `api-key`, or `key:` and the id of a key")
    address: str
    browser: str
    created_at: datetime
    seen_at: datetime
    is_current: bool = Field(description="Whether it sends this request")
