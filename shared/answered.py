"""Tells those who wait for a search that it is answered, and what, over Redis' publish and subscribe.

It only saves them from asking the database. A word that is lost costs a fraction of a
second, since who waits also looks by itself now and then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import redis

from shared.redis_clients import client_options

log = logging.getLogger(__name__)

_CHANNEL = "vitrine:answered"
_REST_S = 2.0
_SILENT_S = 30.0
#: Longer answers are not said but looked up: Redis copies a word for every web process.
MOST_CHARACTERS = 200_000


class Word(NamedTuple):
    """What is said of a search that has ended.

    Attributes:
        status: its committed ``TaskStatus`` as JSON; empty where the ledger is to be asked.
    """

    search_id: str
    status: str = ""

    def written(self) -> bytes:
        status = self.status if len(self.status) <= MOST_CHARACTERS else ""
        return f"{self.search_id} {status}".encode()

    @staticmethod
    def read(data: bytes) -> Word:
        search_id, _, status = data.decode("utf-8", "replace").partition(" ")
        return Word(search_id, status)


class Waiting:
    """One who waits for a search; ``word`` is there once he was told."""

    def __init__(self) -> None:
        self.word: Word | None = None
        self._told = threading.Event()

    def wait(self, seconds: float) -> Word | None:
        """Return the word as soon as it comes, None if it does not within ``seconds``."""
        self._told.wait(seconds)
        return self.word

    def tell(self, word: Word) -> None:
        self.word = word
        self._told.set()


class Announcer:
    """The worker's side."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, **client_options())
        self._silent_until = 0.0

    def announce(self, words: Sequence[Word]) -> None:
        """Say that these searches have ended. Never raises: the ledger has the answers."""
        if time.monotonic() < self._silent_until:
            return
        try:
            with self._client.pipeline(transaction=False) as together:
                for word in words:
                    together.publish(_CHANNEL, word.written())
                together.execute()
        except (redis.RedisError, OSError) as error:
            # A frozen broker must not cost every batch its timeout.
            self._silent_until = time.monotonic() + _REST_S
            log.warning("answers are not announced: %s", type(error).__name__)


class Audience:
    """The web's side: one subscription a process, begun when somebody waits and ended when nobody does."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._waiting: dict[str, list[Waiting]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def waiting_for(self, search_id: str) -> Iterator[Waiting]:
        """Yield one who is told when the search has ended.

        Look at the ledger after entering: what ended before is not told again.
        """
        waiting = Waiting()
        with self._lock:
            self._waiting.setdefault(search_id, []).append(waiting)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="answered", daemon=True)
                self._thread.start()
        try:
            yield waiting
        finally:
            with self._lock:
                left = [each for each in self._waiting[search_id] if each is not waiting]
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
                    self._tell(message["data"])
                elif self._waiting:
                    channel.ping()
                else:
                    return

    def _tell(self, data: bytes) -> None:
        word = Word.read(data)
        with self._lock:
            for waiting in self._waiting.get(word.search_id, ()):
                waiting.tell(word)
        # Lets go of the interpreter at once: who was told goes on before this thread looks for more.
        time.sleep(0)
