"""Store webhooks and emit their events.

An event is a row, written in the transaction of its cause, so that no event is lost and none is sent for a
rolled-back change. The maintenance process sends the rows: ``shared.webhooks.queue``.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.contracts.states import DeliveryState
from shared.contracts.stored import readable_views
from shared.contracts.webhooks import EVENTS, DeliveryOut, WebhookMade, WebhookOut
from shared.database import Database
from shared.database.catalogue_rows import display_name, find_catalogue
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Catalogue, Delivery, Webhook
from shared.errors import Conflict, UnknownWebhook

#: Maximum number of webhooks, which limits the deliveries per event.
MAX_WEBHOOKS = 50
TEST_EVENT = "webhook.test"


def emit(session: Session, event: str, catalogue: str, payload: dict[str, Any]) -> None:
    """Emit an event to every webhook that subscribes to it, in the caller's transaction.

    Args:
        event: one of ``EVENTS``.
        payload: JSON-safe ``data`` for the receiver.
    """
    if event not in EVENTS:
        raise ValueError(f"{event!r} is no event")
    for webhook in session.scalars(select(Webhook).where(Webhook.active)):
        is_subscribed = not webhook.events or event in list(webhook.events)
        if is_subscribed and webhook.catalogue in (None, catalogue):
            _add_delivery(session, webhook.id, event, catalogue, payload)


class WebhookRepository:
    """Adds, lists and removes webhooks, and lists their deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, url: str, events: Sequence[str], catalogue: str | None) -> WebhookMade:
        """Add a webhook; return it with the secret, which no other call returns.

        Raises:
            UnknownCatalogue.
            Conflict: there are ``MAX_WEBHOOKS`` already.
        """
        with self._database.write() as session:
            if catalogue is not None:
                find_catalogue(session, catalogue)
            count = session.scalar(select(func.count()).select_from(Webhook)) or 0
            if count >= MAX_WEBHOOKS:
                raise Conflict(f"There are {count} webhooks already: delete one that is not needed.")
            row = Webhook(
                id=str(uuid.uuid4()),
                url=url,
                secret=f"whsec_{secrets.token_urlsafe(32)}",
                events=list(events),
                catalogue=catalogue,
                active=True,
                created_at=now_s(),
            )
            session.add(row)
            return WebhookMade(**_out(row).model_dump(), secret=row.secret)

    def list_webhooks(self) -> list[WebhookOut]:
        """Return all webhooks, oldest first."""
        with self._database.read() as session:
            rows = session.scalars(select(Webhook).order_by(Webhook.created_at))
            return readable_views(rows, _out, "webhook")

    def remove(self, webhook_id: str) -> None:
        """Remove a webhook with its deliveries. Raises UnknownWebhook."""
        with self._database.write() as session:
            session.delete(_find(session, webhook_id))

    def deliveries(self, webhook_id: str, limit: int = 50) -> list[DeliveryOut]:
        """Return the newest deliveries of a webhook. Raises UnknownWebhook."""
        with self._database.read() as session:
            _find(session, webhook_id)
            rows = session.scalars(
                select(Delivery)
                .where(Delivery.webhook_id == webhook_id)
                .order_by(Delivery.created_at.desc(), Delivery.id)
                .limit(limit)
            )
            return readable_views(rows, _delivery_out, "delivery")

    def test(self, webhook_id: str) -> DeliveryOut:
        """Emit a ``webhook.test`` event to one webhook. Raises UnknownWebhook."""
        with self._database.write() as session:
            webhook = _find(session, webhook_id)
            text = "This is a test: Vitrine can reach this address."
            row = _add_delivery(session, webhook.id, TEST_EVENT, webhook.catalogue, {"message": text})
            return _delivery_out(row)


def catalogue_name(session: Session, catalogue_id: int) -> str:
    """Return the name of a catalogue in events."""
    return session.scalars(select(display_name).where(Catalogue.id == catalogue_id)).one()


def _add_delivery(
    session: Session, webhook_id: str, event: str, catalogue: str | None, payload: dict[str, Any]
) -> Delivery:
    now = now_s()
    row = Delivery(
        id=str(uuid.uuid4()),
        webhook_id=webhook_id,
        event=event,
        payload={"catalogue": catalogue, "data": payload},
        state=DeliveryState.WAITING,
        attempts=0,
        not_before=now,
        created_at=now,
    )
    session.add(row)
    return row


def _find(session: Session, webhook_id: str) -> Webhook:
    row = session.get(Webhook, webhook_id)
    if row is None:
        raise UnknownWebhook(f"There is no webhook {webhook_id!r}: GET /v1/webhooks lists them.")
    return row


def _out(row: Webhook) -> WebhookOut:
    return WebhookOut.model_validate(
        {
            "id": row.id,
            "url": row.url,
            "events": row.events,
            "catalogue": row.catalogue,
            "created_at": to_datetime(row.created_at),
        }
    )


def _delivery_out(row: Delivery) -> DeliveryOut:
    waits = row.state == DeliveryState.WAITING
    return DeliveryOut.model_validate(
        {
            "id": row.id,
            "event": row.event,
            "state": row.state,
            "attempts": row.attempts,
            "status": row.status,
            "error": row.error,
            "created_at": to_datetime(row.created_at),
            "finished_at": to_datetime(row.finished_at),
            "next_try_at": to_datetime(row.not_before) if waits else None,
        }
    )
