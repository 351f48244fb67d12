"""Webhooks, their events and deliveries."""

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
    """A new webhook."""

    url: str = Field(min_length=1, max_length=2048, description="Address that receives events by POST")
    events: list[Event] = Field([], max_length=len(EVENTS), description="Events to send; empty: all")
    catalogue: CatalogueName | None = Field(None, description="Only events of this catalogue; null: all")


class WebhookOut(Contract):
    """A webhook without its secret."""

    id: str
    url: str
    events: list[str] = Field(description="Events to send; empty: all")
    catalogue: str | None
    created_at: datetime


class WebhookMade(WebhookOut):
    """A webhook that was just created, with the secret that no later answer contains."""

    secret: str = Field(description="Key of the signatures; store it, because it is shown only once")


class WebhookEvent(Contract):
    """The body of a POST to a webhook."""

    id: str = Field(description="Id of the delivery: equal in all attempts, to detect duplicates")
    event: str
    created_at: datetime
    catalogue: str | None
    data: dict[str, Any] = Field(description="For job events the job, as in GET /v1/jobs/{id}")


class DeliveryOut(Contract):
    """The delivery of an event to a webhook."""

    id: str
    event: str
    state: Annotated[DeliveryState, inline_values(DeliveryState)]
    attempts: int
    status: int | None = Field(description="HTTP status of the last answer")
    error: str | None = Field(description="Error of the last attempt")
    created_at: datetime
    finished_at: datetime | None
    next_try_at: datetime | None
