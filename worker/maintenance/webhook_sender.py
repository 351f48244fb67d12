"""Send webhook events from a thread of the maintenance process."""

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

#: Maximum duration of one request: a receiver has to answer before it works.
TIMEOUT_S = 10.0
#: Maximum number of concurrent requests, each to another webhook: a receiver that hangs delays only itself.
_MAX_CONCURRENT = 8
_POLL_INTERVAL_S = 1.0
#: Poll interval while requests are in flight: their webhooks are soon free for the next event.
_BUSY_POLL_INTERVAL_S = 0.1
#: Lease beyond the request's timeout; it must exceed the time that recording the outcome takes.
_LEASE_MARGIN_S = 30.0


class WebhookSender:
    """Sends events that are due, and records their outcomes.

    Args:
        allow_private: whether an address may resolve to a private network.
        timeout_s: of one attempt as a whole.
    """

    def __init__(self, database: Database, allow_private: bool, timeout_s: float = TIMEOUT_S) -> None:
        self._queue = WebhookQueue(database, timeout_s + _LEASE_MARGIN_S)
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._senders = ThreadPoolExecutor(_MAX_CONCURRENT, "webhook")
        self._busy: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        """Send until ``stop`` is set; return when the requests in flight have ended."""
        while not stop.is_set():
            try:
                self.send_due()
            except VitrineError as error:
                log.warning("webhooks put off: %s", error.message)
            except Exception:
                # The end of this thread would go unnoticed, so it logs the error and continues.
                log.exception("webhooks put off")
            stop.wait(_BUSY_POLL_INTERVAL_S if self._busy else _POLL_INTERVAL_S)
        self._senders.shutdown()

    def send_due(self) -> list[Future[None]]:
        """Start requests for the events that are due, one per webhook; return their futures."""
        busy = set(self._busy)
        free = _MAX_CONCURRENT - len(busy)
        claimed = self._queue.take(free, busy) if free > 0 else []
        self._busy |= {due.webhook_id for due in claimed}
        return [self._senders.submit(self._send, due) for due in claimed]

    def delete_expired(self) -> int:
        """Delete log entries of deliveries that ended a week ago; return how many."""
        return self._queue.delete_expired()

    def _send(self, due: DueDelivery) -> None:
        try:
            self._attempt(due)
        except VitrineError as error:
            log.warning(
                "the outcome of event %s was not recorded, so it is sent again: %s", due.id, error.message
            )
        except Exception:
            log.exception("event %s is sent again", due.id)
        finally:
            self._busy.discard(due.webhook_id)

    def _attempt(self, due: DueDelivery) -> None:
        try:
            status = self._post(due)
        except VitrineError as error:
            log.info("event %s for webhook %s: %s", due.id, due.webhook_id, error.message)
            self._queue.mark_failed(due, None, error.message)
            return
        if 200 <= status < 300:
            self._queue.mark_delivered(due, status)
        else:
            # A redirect fails too: its target has not been checked against private networks.
            self._queue.mark_failed(due, status, f"The receiver answered {status}.")

    def _post(self, due: DueDelivery) -> int:
        """Post an event; return the HTTP status. The body of the response is not read."""
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
