"""Webhooks as they are made, listed and delivered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from shared.contracts.base import CatalogueName, Contract
from shared.contracts.states import DeliveryState, inline_values

Event = Literal[
    "job.succeeded", "job.failed", "job.cancelled", "job.paused", "index.promoted", "index.rolled_back"
]
EVENTS: tuple[str, ...] = get_args(Event)


class WebhookIn(Contract):
    """An address that wants to be told about events."""

    url: str = Field(min_length=1, max_length=2048, description="Where events are sent by POST")
    events: list[Event] = Field([], max_length=len(EVENTS), description="Which; empty: all")
    catalogue: CatalogueName | None = Field(None, description="Only this catalogue's; null: all")


class WebhookOut(Contract):
    """A webhook as it is listed."""

    id: str
    url: str
    events: list[str] = Field(description="Which; empty: all")
    catalogue: str | None
    created_at: datetime


class WebhookMade(WebhookOut):
    """A webhook that was just made, with the secret that no later answer shows."""

    secret: str = Field(description="Signs what is sent; keep it: it is shown this once")


class WebhookEvent(Contract):
    """What a webhook receives as the body of a POST."""

    id: str = Field(description="Of the delivery: the same in each try, so that doubles can be dropped")
    event: str
    created_at: datetime
    catalogue: str | None
    data: dict[str, Any] = Field(description="Of job events the job, as GET /v1/jobs/{id} shows it")


class DeliveryOut(Contract):
    """An event on its way to a webhook."""

    id: str
    event: str
    state: Annotated[DeliveryState, inline_values(DeliveryState)]
    attempts: int
    status: int | None = Field(description="HTTP status of the last answer")
    error: str | None = Field(description="Why the last try failed")
    created_at: datetime
    finished_at: datetime | None
    next_try_at: datetime | None
