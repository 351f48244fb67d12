"""Keep a health file that shows whether this worker makes progress; runs in its parent process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import redis

from shared.broker.redis_clients import QueueLengths
from shared.broker.task_names import Lane
from shared.factories import open_database
from shared.health.files import TOUCH_INTERVAL_S, begin, health_file, mark_unhealthy, sweep, touch
from shared.health.lanes import STALL_S, LaneMonitor
from shared.health.presence import Presence
from shared.process.background import Periodic
from shared.settings import Settings
from worker.health.consumer import ACTIVITY, ConsumerActivity

log = logging.getLogger(__name__)

_JUDGE_INTERVAL_S = 2.0


class Liveness:
    """Touches the health file while this process consumes messages and its lane makes progress.

    A separate thread judges the lane, so that a database that hangs does not make the worker look dead. An
    unreachable service never makes the worker unhealthy: a restart would not bring it back.

    Args:
        name: of this worker, ``search@host``; its child's heartbeat has the same.
        queue_length: returns the number of messages in the lane's queue; may raise redis-py's errors.
    """

    def __init__(
        self,
        name: str,
        lane: Lane,
        path: Path,
        activity: ConsumerActivity,
        monitor: LaneMonitor,
        presence: Presence,
        queue_length: Callable[[], int],
    ) -> None:
        self._name = name
        self._lane = lane
        self._path = path
        self._activity = activity
        self._monitor = monitor
        self._presence = presence
        self._queue_length = queue_length
        self._problem: str | None = None
        self._ignored_since: float | None = None

    def start(self) -> list[Periodic]:
        """Start the threads that touch and judge; return them, to be stopped."""
        begin(self._path)
        return [
            Periodic("health", TOUCH_INTERVAL_S, self.report, starts_now=True).start(),
            Periodic("stall", _JUDGE_INTERVAL_S, self.judge).start(),
        ]

    def report(self) -> None:
        """Touch the file, or mark it unhealthy when this worker makes no progress."""
        if self._problem is not None:
            mark_unhealthy(self._path)
        elif not self._activity.started or time.monotonic() - self._activity.ticked_at <= STALL_S:
            # Before the consumer runs, the pool starts, which may take long on a busy machine.
            touch(self._path)

    def judge(self) -> None:
        """Check whether this worker leaves work in its lane waiting.

        Raises:
            DatabaseUnavailable: the previous verdict stays.
        """
        problem = self._find_stall()
        if problem is not None and problem != self._problem:
            log.error("not healthy: %s", problem)
        self._problem = problem

    def _find_stall(self) -> str | None:
        activity = self._activity
        if activity.is_busy or not activity.broker_usable:
            self._ignored_since = None
            return None
        ignored_s = self._measure_ignored_s()
        if ignored_s > STALL_S:
            problem = f"messages wait in the queue {self._lane} for {ignored_s:.0f} s, and none is taken"
            return problem if self._child_is_ready() else None
        if time.monotonic() - activity.received_at > STALL_S:
            # The queue is empty. The maintenance process publishes lost messages again.
            return None
        found = self._monitor.read(self._lane)
        return None if found.healthy or not self._child_is_ready() else found.message

    def _measure_ignored_s(self) -> float:
        """Return how long messages have waited while this worker is idle and receives none."""
        now = time.monotonic()
        if not self._has_messages():
            self._ignored_since = None
            return 0.0
        if self._ignored_since is None or self._activity.received_at > self._ignored_since:
            self._ignored_since = now
        return now - self._ignored_since

    def _child_is_ready(self) -> bool:
        """Return whether the pool's child has loaded its models; Celery replaces one that cannot."""
        return any(process.name == self._name for process in self._presence.list_alive())

    def _has_messages(self) -> bool:
        try:
            return self._queue_length() > 0
        except (redis.RedisError, OSError):
            return False


def watch(settings: Settings, lane: Lane, name: str) -> None:
    """Maintain the health file of the worker ``name``; to be called once in the parent process."""
    database = open_database(settings)
    lengths = QueueLengths(settings.redis_url)
    sweep(settings.data_dir)
    Liveness(
        name,
        lane,
        health_file(settings.data_dir, name),
        ACTIVITY,
        LaneMonitor(database, settings.search.lease_s),
        Presence(database),
        lambda: lengths.read(lane),
    ).start()
