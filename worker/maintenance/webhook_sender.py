"""Sends the events of webhooks, from a thread of the maintenance process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from shared.database import Database
from shared.errors import VitrineError
from shared.net.pinned_http import exchange
from shared.net.url_fetch import resolve_before
from shared.webhooks.addresses import FIELD, webhook_target
from shared.webhooks.queue import DueDelivery, WebhookQueue
from shared.webhooks.signatures import HEADER, signature

log = logging.getLogger(__name__)

#: Events on their way at once, each to another webhook: one that hangs holds up only itself.
_AT_ONCE = 8
_LOOK_S = 1.0
#: While something is on its way, its webhook may soon have room for the next.
_LOOK_AGAIN_S = 0.1
#: Above the time that writing down the outcome may take.
_HOLD_SPARE_S = 30.0


class WebhookSender:
    """Sends events that are due, and notes what their receivers answered.

    Args:
        allow_private: whether an address may lead into this network.
        timeout_s: for everything that one try takes.
    """

    def __init__(self, database: Database, allow_private: bool, timeout_s: float) -> None:
        self._desk = WebhookQueue(database, timeout_s + _HOLD_SPARE_S)
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._senders = ThreadPoolExecutor(_AT_ONCE, "webhook")
        self._busy: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        """Send until ``stop`` is set; returns when what was on its way has ended."""
        while not stop.is_set():
            try:
                self.send_due()
            except VitrineError as error:
                log.warning("webhooks put off: %s", error.message)
            except Exception:
                # Nobody would notice that this thread has ended: it goes on, and the log tells.
                log.exception("webhooks put off")
            stop.wait(_LOOK_AGAIN_S if self._busy else _LOOK_S)
        self._senders.shutdown()

    def send_due(self) -> list[Future[None]]:
        """Begin to send what is due, one event a webhook, and return what is on its way."""
        busy = set(self._busy)
        taken = self._desk.take(_AT_ONCE - len(busy), busy) if len(busy) < _AT_ONCE else []
        self._busy |= {due.webhook_id for due in taken}
        return [self._senders.submit(self._send, due) for due in taken]

    def delete_expired(self) -> int:
        """Delete the log of what ended a week ago."""
        return self._desk.delete_expired()

    def _send(self, due: DueDelivery) -> None:
        try:
            self._try_to_send(due)
        except VitrineError as error:
            log.warning("outcome of event %s not noted, so it is sent again: %s", due.id, error.message)
        except Exception:
            log.exception("event %s is sent again", due.id)
        finally:
            self._busy.discard(due.webhook_id)

    def _try_to_send(self, due: DueDelivery) -> None:
        try:
            status = self._post(due)
        except VitrineError as error:
            log.info("event %s for webhook %s: %s", due.id, due.webhook_id, error.message)
            self._desk.mark_failed(due, None, error.message)
            return
        if 200 <= status < 300:
            self._desk.mark_delivered(due, status)
        else:
            # A redirect too: an address that was checked must not pass the event on to one that was not.
            self._desk.mark_failed(due, status, f"The receiver answered {status}.")

    def _post(self, due: DueDelivery) -> int:
        """Send an event; return the HTTP status. The answer's body is not read."""
        end = time.monotonic() + self._timeout_s
        target = webhook_target(due.url, self._allow_private, partial(resolve_before, end))
        body = due.event.model_dump_json().encode()
        with exchange("POST", target, _headers(due, body), body, end, FIELD, self._timeout_s) as answer:
            return int(answer.status)


def _headers(due: DueDelivery, body: bytes) -> Mapping[str, str]:
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Vitrine-Event": due.event.event,
        "Vitrine-Delivery": due.id,
        HEADER: signature(due.secret, int(time.time()), body),
    }
