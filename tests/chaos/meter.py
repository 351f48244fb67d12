"""Samples of memory, queues and waiting rows while the run lasts."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from tests.chaos.record import Record
from tests.chaos.site import Site

INTERVAL_S = 5.0
#: Between the look at the queue and the look at the rows, so many messages may come and go.
_SLACK = 25
_PAGE_BYTES = 4096


@dataclass
class Meter:
    """Samples by what they are of; a series' growth is the median of its last third over its first.

    Attributes:
        samples: bytes, messages or rows by name, in order of time.
    """

    site: Site
    record: Record
    samples: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._engine = create_engine(self.site.database_url)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._engine.dispose()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._sample_memory()
            self._sample_queue()

    def _sample_memory(self) -> None:
        for name, process in list(self.site.processes.items()):
            if process.poll() is None:
                self.samples[f"{name} RSS"].append(group_rss_bytes(process.pid))

    def _sample_queue(self) -> None:
        try:
            client = self.site.redis.client()
            queued = client.llen("search")
            used = client.info("memory")["used_memory"]
            with self._engine.connect() as connection:
                waiting = connection.scalar(text("SELECT count(*) FROM searches WHERE state = 'queued'")) or 0
        except (redis.RedisError, OSError, SQLAlchemyError):
            return
        self.samples["search messages"].append(float(queued))
        self.samples["search rows waiting"].append(float(waiting))
        self.samples["broker memory"].append(float(used))
        if queued > waiting + _SLACK:
            self.record.violate(f"{queued} search messages for {waiting} waiting searches")

    def growth(self, name: str) -> tuple[float, float, float]:
        """Return the median of the first third, of the last third, and the maximum of a series."""
        values = self.samples[name]
        third = max(len(values) // 3, 1)
        return statistics.median(values[:third]), statistics.median(values[-third:]), max(values)


def group_rss_bytes(leader: int) -> float:
    """Return the resident bytes of a process and of its group."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[2] == str(leader):
                total += int((entry / "statm").read_text().split()[1])
        except OSError:  # it has just ended
            continue
    return float(total * _PAGE_BYTES)


def wait_until_empty(record: Record, within_s: float) -> bool:
    """Return whether every promise has ended ``within_s``."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if not record.pending and not record.jobs:
            return True
        time.sleep(0.5)
    return False
