"""Tells those who wait for a search that it is answered, over Redis' publish and subscribe.

It only saves them from asking the database again and again. A word that is lost costs a fraction of a
second, since who waits also looks by itself now and then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis

from shared.redis_clients import client_options

log = logging.getLogger(__name__)

_CHANNEL = "vitrine:answered"
_REST_S = 2.0
_SILENT_S = 30.0


class Announcer:
    """The worker's side."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, **client_options())
        self._silent_until = 0.0

    def announce(self, search_ids: Sequence[str]) -> None:
        """Say that these searches have ended. Never raises: the ledger has the answers."""
        if time.monotonic() < self._silent_until:
            return
        try:
            self._client.publish(_CHANNEL, " ".join(search_ids))
        except (redis.RedisError, OSError) as error:
            # A frozen broker must not cost every batch its timeout.
            self._silent_until = time.monotonic() + _REST_S
            log.warning("answers are not announced: %s", type(error).__name__)


class Audience:
    """The web's side: one subscription a process, begun when somebody waits and ended when nobody does."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._waiting: dict[str, list[threading.Event]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def waiting_for(self, search_id: str) -> Iterator[threading.Event]:
        """Yield an event that is set when the search has ended.

        Look at the ledger after entering: what ended before is not told again.
        """
        told = threading.Event()
        with self._lock:
            self._waiting.setdefault(search_id, []).append(told)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="answered", daemon=True)
                self._thread.start()
        try:
            yield told
        finally:
            with self._lock:
                left = [event for event in self._waiting[search_id] if event is not told]
                self._waiting[search_id] = left
                if not left:
                    del self._waiting[search_id]

    def _listen(self) -> None:
        while not self._unneeded():
            # Redis away: who waits looks at the ledger by itself meanwhile.
            with suppress(redis.RedisError, OSError):
                self._listen_once()
            time.sleep(_REST_S / 4)

    def _unneeded(self) -> bool:
        """Tell whether nobody waits; who comes later then begins another subscription."""
        with self._lock:
            if self._waiting:
                return False
            self._thread = None
            return True

    def _listen_once(self) -> None:
        client: Any = redis.Redis.from_url(self._redis_url, **client_options())
        with client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(_CHANNEL)
            while True:
                # The timeout is that of the poll, so a silent channel is told from a dead connection.
                message = channel.get_message(timeout=_SILENT_S)
                if message is not None:
                    # A pong says nothing.
                    self._tell(message["data"].decode("ascii", "replace").split())
                elif self._waiting:
                    channel.ping()
                else:
                    return

    def _tell(self, search_ids: Sequence[str]) -> None:
        with self._lock:
            for search_id in search_ids:
                for event in self._waiting.get(search_id, ()):
                    event.set()
