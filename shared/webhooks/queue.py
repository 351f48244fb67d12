"""Queue of webhook events: take due events, and record the outcome of their delivery.

Taking an event postpones its next attempt. If the sender dies, another sender repeats it under the same id.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from shared.contracts import WebhookEvent
from shared.contracts.states import DeliveryState
from shared.contracts.stored import as_object, read_stored
from shared.database import Database, execute_rowcount
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Delivery, Webhook
from shared.errors import UnreadableRow
from shared.process.backoff import Backoff

#: Age of an event after which its delivery is given up.
_GIVE_UP_S = 86_400.0
_KEEP_S = 7 * 86_400.0
#: Attempts after which an unreadable event is given up; a newer sender may be able to read it before.
_MAX_UNREADABLE_ATTEMPTS = 4
#: Delays between attempts: 10 s, 40 s, 160 s and so on up to four hours.
RETRY = Backoff(first_s=10.0, factor=4.0, max_s=4 * 3600.0)


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """An event that this process has taken and sends now."""

    id: str
    webhook_id: str
    url: str
    secret: str
    attempts: int
    created_at: float
    event: WebhookEvent


class WebhookQueue:
    """Takes due events.

    Args:
        hold_s: how long a taken event belongs to this sender; longer than sending takes.
    """

    def __init__(self, database: Database, hold_s: float) -> None:
        self._database = database
        self._hold_s = hold_s

    def take(self, limit: int, busy: Collection[str] = ()) -> list[DueDelivery]:
        """Take up to ``limit`` events, the oldest of each webhook; skip the webhooks in ``busy``."""
        now = now_s()
        waiting = (
            Delivery.state == DeliveryState.WAITING,
            Delivery.not_before <= now,
            Delivery.webhook_id.not_in(busy),
        )
        with self._database.read() as session:
            if session.scalar(select(Delivery.id).where(*waiting).limit(1)) is None:
                return []
        with self._database.write() as session:
            oldest = (
                select(
                    Delivery.id,
                    func.row_number()
                    .over(partition_by=Delivery.webhook_id, order_by=(Delivery.created_at, Delivery.id))
                    .label("rank"),
                )
                .where(*waiting)
                .subquery()
            )
            rows = session.execute(
                select(Delivery, Webhook)
                .join(Webhook, Webhook.id == Delivery.webhook_id)
                .where(Delivery.id.in_(select(oldest.c.id).where(oldest.c.rank == 1)))
                .order_by(Delivery.not_before)
                .limit(limit)
                .with_for_update(skip_locked=True, of=Delivery)
            ).all()
            taken = []
            for delivery, webhook in rows:
                # Another sender may have taken it between the query and the lock.
                if delivery.state != DeliveryState.WAITING or delivery.not_before > now:
                    continue
                delivery.attempts += 1
                delivery.not_before = now + self._hold_s
                try:
                    taken.append(_due_delivery(delivery, webhook))
                except UnreadableRow as error:
                    _postpone_unreadable(delivery, error, now)
            return taken

    def mark_delivered(self, due: DueDelivery, status: int) -> None:
        """Close an event that the receiver accepted."""
        self._close(due, DeliveryState.DELIVERED, status, None)

    def mark_failed(self, due: DueDelivery, status: int | None, error: str) -> None:
        """Schedule the next attempt, or give the event up after a day."""
        now, pause_s = now_s(), RETRY.delay_s(due.attempts)
        if now + pause_s > due.created_at + _GIVE_UP_S:
            self._close(due, DeliveryState.DEAD, status, error)
            return
        with self._database.write() as session:
            session.execute(
                update(Delivery)
                .where(
                    Delivery.id == due.id,
                    Delivery.state == DeliveryState.WAITING,
                    Delivery.attempts == due.attempts,
                )
                .values(not_before=now + pause_s, status=status, error=error)
            )

    def _close(self, due: DueDelivery, state: DeliveryState, status: int | None, error: str | None) -> None:
        with self._database.write() as session:
            session.execute(
                update(Delivery)
                .where(Delivery.id == due.id)
                .values(state=state, status=status, error=error, finished_at=now_s())
            )

    def delete_expired(self) -> int:
        """Delete events that ended over a week ago; return their number."""
        with self._database.write() as session:
            return execute_rowcount(session, delete(Delivery).where(Delivery.finished_at < now_s() - _KEEP_S))


def _postpone_unreadable(delivery: Delivery, error: UnreadableRow, now: float) -> None:
    """Postpone an event that cannot be read, or give it up, so that the others are sent."""
    delivery.error = error.message
    delivery.not_before = now + RETRY.delay_s(delivery.attempts)
    if delivery.attempts >= _MAX_UNREADABLE_ATTEMPTS:
        delivery.state, delivery.finished_at = DeliveryState.DEAD, now


def _due_delivery(delivery: Delivery, webhook: Webhook) -> DueDelivery:
    event = read_stored(
        WebhookEvent,
        {
            **as_object(delivery.payload),
            "id": delivery.id,
            "event": delivery.event,
            "created_at": to_datetime(delivery.created_at),
        },
        "The stored event",
    )
    return DueDelivery(
        delivery.id,
        webhook.id,
        webhook.url,
        webhook.secret,
        delivery.attempts,
        delivery.created_at,
        event,
    )
