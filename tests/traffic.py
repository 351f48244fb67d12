"""Mixed traffic of shoppers over HTTP, and the invariants of the search lane while it lasts.

Both parts speak to any running Vitrine: the test in ``tests/integration/test_search_traffic.py`` runs them
for seconds, a long run for hours.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import redis

from shared.broker.task_names import Lane
from tests.web_builders import picture

ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Traffic:
    """Shoppers who search, fail, repeat themselves, cancel, and come in bursts or one by one.

    Attributes:
        url: of the web process.
        api_key: that it asks for; a request without one is refused.
        catalogue: one that exists, and has no product ``unknown``.
        failing_top_k: searches for so many hits fail in the worker; None where none should.
        counts: requests by kind.
        accepted: ids of the searches that were accepted.
        cancelled: ids of those that were cancelled, or are about to be.
        unexpected: answers other than the one that a request should get.
    """

    url: str
    api_key: str
    catalogue: str
    failing_top_k: int | None = None
    seed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    unexpected: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, seconds: float, shoppers: int) -> None:
        """Let ``shoppers`` ask for ``seconds``, and until each has made every kind of request.

        Each begins with a burst and goes on as a trickle.
        """
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._shop, args=(random.Random(f"{self.seed}-{n}"), until), daemon=True)
            for n in range(shoppers)
        ]
        self.seed += 1
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _shop(self, chance: random.Random, until: float) -> None:
        kinds = [self._search, self._fail, self._cancel, self._repeat, self._be_refused]
        requests = [self._search, self._search, self._search, self._cancel, self._repeat, self._be_refused]
        with httpx.Client(base_url=self.url, timeout=60) as client:
            client.headers["Authorization"] = f"Bearer {self.api_key}"
            # Where the machine is busy, the time may end before chance has chosen each kind.
            for request in chance.sample(kinds, len(kinds)):
                request(client, chance)
            while time.monotonic() < until:
                in_a_row, pause_s = chance.choice([(12, 0.0), (3, 0.02), (1, 0.1)])
                for _ in range(in_a_row):
                    chance.choice(requests)(client, chance)
                    time.sleep(pause_s)

    def _post(
        self, client: httpx.Client, expected: int, kind: str, key: str | None = None, **fields: object
    ) -> str | None:
        """Search by photo; return the search's id where it was accepted."""
        data = {"catalogue": self.catalogue, **{name: str(value) for name, value in fields.items()}}
        answer = client.post(
            "/v1/searches",
            files={"image": ("photo.jpg", _PHOTO)},
            data=data,
            headers={} if key is None else {"Idempotency-Key": key},
        )
        with self._lock:
            self.counts[kind] += 1
            if answer.status_code != expected:
                self.unexpected.append(f"{kind}: {answer.status_code} {answer.text[:200]}")
            if answer.status_code not in (200, 202):
                return None
            search_id = str(answer.json()["id"])
            self.accepted.add(search_id)
            return search_id

    def _search(self, client: httpx.Client, chance: random.Random) -> None:
        if chance.random() < 0.1:
            self._fail(client, chance)
        else:
            self._post(client, 202, "accepted")

    def _fail(self, client: httpx.Client, chance: random.Random) -> None:
        if self.failing_top_k is not None:
            self._post(client, 202, "failing", top_k=self.failing_top_k)
        else:
            self._post(client, 202, "accepted")

    def _cancel(self, client: httpx.Client, chance: random.Random) -> None:
        if (search_id := self._post(client, 202, "cancelled")) is not None:
            with self._lock:
                self.cancelled.add(search_id)
            client.delete(f"/v1/tasks/{search_id}")

    def _repeat(self, client: httpx.Client, chance: random.Random) -> None:
        key = str(uuid.UUID(int=chance.getrandbits(128)))
        first = self._post(client, 202, "with a key", key)
        for _ in range(2):
            again = self._post(client, 202, "repeated", key)
            if again != first:
                self.unexpected.append(f"a repeated request made {again} beside {first}")
        self._post(client, 409, "conflict", key, top_k=3)

    def _be_refused(self, client: httpx.Client, chance: random.Random) -> None:
        self._post(client, 404, "unknown catalogue", catalogue="nowhere")
        self._post(client, 404, "unknown product", like="unknown")
        self._post(client, 422, "invalid", top_k=0)
        with httpx.Client(base_url=self.url, timeout=60) as stranger:
            self._post(stranger, 401, "unauthorised")


_PHOTO = picture()


#: Counts in a row that have to show a surplus of messages.
_CONFIRMATIONS = 5


@dataclass
class LaneWatch:
    """Samples the search lane, and notes where it holds more messages than its searches explain.

    Attributes:
        broker: the lane's Redis.
        count_waiting: counts the searches that no worker holds, and those that were cancelled before that.
        stale: maximum number of messages whose search another task has just taken into its batch:
            the batch's size times the number of workers.
        violations: what was seen of more.
    """

    broker: redis.Redis
    count_waiting: Callable[[], int]
    stale: int
    interval_s: float = 0.02
    violations: list[str] = field(default_factory=list)
    samples: int = 0
    max_queued: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> LaneWatch:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def queued(self) -> int:
        """Count the messages in the queue."""
        length: int = self.broker.llen(str(Lane.SEARCH))
        return length

    def memory(self) -> int:
        """Return the bytes that the broker's data takes, without its clients' buffers."""
        return int(self.broker.info("memory")["used_memory_dataset"])

    def check(self) -> None:
        """Take one sample; a surplus counts where it stays.

        Rows and messages cannot be counted at one moment: on a busy machine a burst comes, and batches are
        taken, between two counts. Messages that circulate or pile up are there in each of the next counts.
        """
        self.samples += 1
        for _ in range(_CONFIRMATIONS):
            before, queued = self.count_waiting(), self.queued()
            waiting = max(before, self.count_waiting())
            self.max_queued = max(self.max_queued, queued)
            if queued <= waiting + self.stale:
                return
            time.sleep(self.interval_s)
        self.violations.append(f"{queued} messages for {waiting} waiting searches")

    def _watch(self) -> None:
        while not self._stopped.wait(self.interval_s):
            self.check()
