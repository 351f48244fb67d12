"""API keys as requests and answers describe them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from shared.contracts.base import CatalogueName, Contract

RoleName = Literal["search", "catalogue", "operate", "owner"]
KeyName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
MAX_CATALOGUES, MAX_ORIGINS = 100, 20
MAX_PER_MINUTE = 1_000_000
MAX_LIFETIME_S = 10 * 366 * 86_400
_PER_MINUTE = (
    "Maximum requests per minute, pictures excepted; null: 600 for `search`, else the server's limit"
)


class KeyIn(Contract):
    """A new API key."""

    name: KeyName = Field(description="What the key is for")
    role: RoleName = Field("search", description="What the key may do; each role includes the ones before")
    catalogues: list[CatalogueName] = Field(
        [], max_length=MAX_CATALOGUES, description="The only catalogues that it may access; empty: all"
    )
    origins: list[str] = Field(
        [], max_length=MAX_ORIGINS, description="For `search`: sites whose pages may use it"
    )
    per_minute: int | None = Field(None, ge=1, le=MAX_PER_MINUTE, description=_PER_MINUTE)
    expires_in_s: float | None = Field(
        None,
        gt=0,
        le=MAX_LIFETIME_S,
        allow_inf_nan=False,
        description="Seconds until it expires; null: never",
    )

    @field_validator("name")
    @classmethod
    def _fits_on_a_line(cls, name: str) -> str:
        # A terminal that lists keys would run control characters, and show other lines than there are.
        if (
            not name.replace("\N{ZERO WIDTH NON-JOINER}", "")
            .replace("\N{ZERO WIDTH JOINER}", "")
            .isprintable()
        ):
            raise ValueError("control characters and line breaks are not allowed")
        return name


class KeyRotation(Contract):
    """How a key is replaced."""

    grace_s: float = Field(
        7 * 86_400.0,
        ge=0,
        le=MAX_LIFETIME_S,
        allow_inf_nan=False,
        description="Seconds for which the old key works alongside the new one",
    )


class KeyOut(Contract):
    """An API key without its secret."""

    id: str = Field(description="The part of the key between `vt_` and the secret")
    name: str
    role: RoleName
    catalogues: list[str] = Field(description="Empty: all")
    origins: list[str]
    per_minute: int | None
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Written at most once a minute")


class KeyMade(KeyOut):
    """A key that was just created; no later answer contains it."""

    key: str = Field(description="Send it as `Authorization: Bearer`; it is shown only once")
