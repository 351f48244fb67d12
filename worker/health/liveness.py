"""Says in a file whether this worker gets work done, for health checks; runs in its parent process."""

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
    """Touches the health file while this process consumes, and its lane gets on.

    The verdict is formed in a thread of its own, so that a database that hangs does not make the worker
    look dead. A service that is away is never this worker's fault: no restart brings it back.

    Args:
        name: of this worker, ``search@host``; its child beats under the same.
        queue_length: messages in the lane's queue; may raise redis-py's errors.
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
        """Touch and judge from threads until what is returned is stopped."""
        begin(self._path)
        return [
            Periodic("health", TOUCH_INTERVAL_S, self.report, starts_now=True).start(),
            Periodic("stall", _JUDGE_INTERVAL_S, self.judge).start(),
        ]

    def report(self) -> None:
        """Touch the file, or make it old at once when this worker gets no work done."""
        if self._problem is not None:
            mark_unhealthy(self._path)
        elif not self._activity.started or time.monotonic() - self._activity.ticked_at <= STALL_S:
            # Before the consumer starts, the pool does: on a busy machine that takes its time.
            touch(self._path)

    def judge(self) -> None:
        """Find out whether work waits in the lane that this worker could do, and does not.

        Raises:
            DatabaseUnavailable: the verdict stays what it was.
        """
        problem = self._stall()
        if problem is not None and problem != self._problem:
            log.error("not healthy: %s", problem)
        self._problem = problem

    def _stall(self) -> str | None:
        activity = self._activity
        if activity.busy or not activity.broker_usable:
            self._ignored_since = None
            return None
        ignored_s = self._ignored_s()
        if ignored_s > STALL_S:
            problem = f"messages wait in the queue {self._lane} for {ignored_s:.0f} s, and none is taken"
            return problem if self._child_is_ready() else None
        if time.monotonic() - activity.received_at > STALL_S:
            # No message waits. Those that were lost are published again by the maintenance process.
            return None
        found = self._monitor.read(self._lane)
        return None if found.healthy or not self._child_is_ready() else found.message

    def _ignored_s(self) -> float:
        """For how long messages have waited while this worker is idle and takes none."""
        now = time.monotonic()
        if not self._messages_wait():
            self._ignored_since = None
            return 0.0
        if self._ignored_since is None or self._activity.received_at > self._ignored_since:
            self._ignored_since = now
        return now - self._ignored_since

    def _child_is_ready(self) -> bool:
        """Whether the pool's child has loaded its models; Celery replaces one that does not."""
        return any(process.name == self._name for process in self._presence.list_alive())

    def _messages_wait(self) -> bool:
        try:
            return self._queue_length() > 0
        except (redis.RedisError, OSError):
            return False


def watch(settings: Settings, lane: Lane, name: str) -> None:
    """Keep the health file of the worker ``name`` until this process ends; called once in the parent."""
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
