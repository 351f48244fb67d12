"""Notify waiting requests over Redis pub/sub that a search has ended.

This only saves polling the database. Waiters also poll, because pub/sub can drop messages.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import redis

from shared.broker.redis_clients import client_options
from shared.process.backoff import CoolDown

log = logging.getLogger(__name__)

_CHANNEL = "vitrine:answered"
_COOL_DOWN_S = 2.0
_RECONNECT_S = 0.5
_IDLE_TIMEOUT_S = 30.0
#: Longer answers are read from the database: Redis copies a message for every web process.
MAX_CHARACTERS = 200_000


class Notification(NamedTuple):
    """The end of a search.

    Attributes:
        status: its committed ``TaskStatus`` as JSON; empty where the database has to be read.
    """

    search_id: str
    status: str = ""

    def to_bytes(self) -> bytes:
        status = self.status if len(self.status) <= MAX_CHARACTERS else ""
        return f"{self.search_id} {status}".encode()

    @staticmethod
    def from_bytes(data: bytes) -> Notification:
        search_id, _, status = data.decode("utf-8", "replace").partition(" ")
        return Notification(search_id, status)


class PendingResult:
    """The wait of one request for one search."""

    def __init__(self) -> None:
        self._notification: Notification | None = None
        self._delivered = threading.Event()

    def wait(self, seconds: float) -> Notification | None:
        """Return the notification as soon as it arrives, or None after ``seconds``."""
        self._delivered.wait(seconds)
        return self._notification

    def deliver(self, notification: Notification) -> None:
        self._notification = notification
        self._delivered.set()


class ResultNotifier:
    """Publishes the ends of searches; used by workers."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, **client_options())
        self._cool_down = CoolDown(_COOL_DOWN_S)

    def notify(self, notifications: Sequence[Notification]) -> None:
        """Publish that these searches have ended. Never raises: the database has the answers."""
        if self._cool_down.is_active():
            return
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for notification in notifications:
                    pipeline.publish(_CHANNEL, notification.to_bytes())
                pipeline.execute()
        except (redis.RedisError, OSError) as error:
            # A frozen broker must not cost every batch its timeout.
            self._cool_down.record_failure()
            log.warning("waiters are not notified: %s", type(error).__name__)


class ResultWaiter:
    """Subscribes once per web process, for as long as a request waits."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._pending: dict[str, list[PendingResult]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def waiting_for(self, search_id: str) -> Iterator[PendingResult]:
        """Yield a wait for the end of the search.

        Read the database after entering: an earlier end is not published again.
        """
        pending = PendingResult()
        with self._lock:
            self._pending.setdefault(search_id, []).append(pending)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="results", daemon=True)
                self._thread.start()
        try:
            yield pending
        finally:
            with self._lock:
                left = [each for each in self._pending[search_id] if each is not pending]
                self._pending[search_id] = left
                if not left:
                    del self._pending[search_id]

    def _listen(self) -> None:
        while not self._is_unneeded():
            # Without the broker, waiters poll the database.
            with suppress(redis.RedisError, OSError):
                self._listen_once()
            time.sleep(_RECONNECT_S)

    def _is_unneeded(self) -> bool:
        """Return whether nothing waits; a later wait then starts another thread."""
        with self._lock:
            if self._pending:
                return False
            self._thread = None
            return True

    def _listen_once(self) -> None:
        client: Any = redis.Redis.from_url(self._redis_url, **client_options())
        with client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(_CHANNEL)
            while True:
                # After a silent interval, a ping distinguishes a quiet channel from a dead connection.
                message = channel.get_message(timeout=_IDLE_TIMEOUT_S)
                if message is not None:
                    # A pong carries no data.
                    self._deliver(message["data"])
                elif self._pending:
                    channel.ping()
                else:
                    return

    def _deliver(self, data: bytes) -> None:
        notification = Notification.from_bytes(data)
        with self._lock:
            for pending in self._pending.get(notification.search_id, ()):
                pending.deliver(notification)
