"""When a worker's parent calls itself healthy, and when it does not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared.broker.task_names import Lane
from shared.health.files import MAX_AGE_S, LoopHeartbeat, age_s, health_file, mark_unhealthy, sweep, touch
from shared.health.lanes import STALL_S, LaneHealth
from shared.health.presence import ProcessInfo
from worker.health.liveness import Liveness

LONG_AGO_S = 2 * STALL_S
HEALTHY = LaneHealth(Lane.SEARCH, 1.0, 1.0)
STALLED = LaneHealth(Lane.SEARCH, 43.0, 43.0)


class Activity:
    """A consumer as it is said to be."""

    def __init__(self) -> None:
        self.ticked_at = self.received_at = time.monotonic()
        self.broker_usable = self.started = True
        self.is_busy = False


class Monitor:
    def __init__(self, found: LaneHealth) -> None:
        self.found = found

    def read(self, lane: Lane) -> LaneHealth:
        return self.found


class Beats:
    def __init__(self, *names: str) -> None:
        self.names = names

    def list_alive(self) -> list[ProcessInfo]:
        return [ProcessInfo(name, "search", "here", 1, 0.0, 0.0, {}) for name in self.names]


class Worker:
    """A parent process with its surroundings, all of which a test may change."""

    def __init__(self, folder: Path) -> None:
        self.path = health_file(folder, "search@here")
        self.activity, self.monitor, self.beats = Activity(), Monitor(HEALTHY), Beats("search@here")
        self.messages = 0
        self.liveness = Liveness(
            "search@here",
            Lane.SEARCH,
            self.path,
            self.activity,  # type: ignore[arg-type]
            self.monitor,  # type: ignore[arg-type]
            self.beats,  # type: ignore[arg-type]
            lambda: self.messages,
        )

    def healthy(self) -> bool:
        self.liveness.judge()
        self.path.unlink(missing_ok=True)
        touch(self.path)
        mark_unhealthy(self.path)
        self.liveness.report()
        age = age_s(self.path)
        assert age is not None
        return age <= MAX_AGE_S


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


def test_one_that_consumes_is_healthy(worker: Worker) -> None:
    assert worker.healthy()


def test_an_event_loop_that_stands_still_is_not(worker: Worker) -> None:
    worker.activity.ticked_at -= LONG_AGO_S
    assert not worker.healthy()
    worker.activity.started = False  # the pool is still starting
    assert worker.healthy()


def test_messages_that_none_takes_are_seen_although_other_workers_keep_the_lane_going(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.activity.received_at -= LONG_AGO_S
    worker.messages = 3
    assert worker.healthy(), "they may have come this moment"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + STALL_S + 1)
    worker.activity.ticked_at = now + STALL_S
    assert not worker.healthy()
    worker.activity.received_at = now + STALL_S
    assert worker.healthy()


def test_a_row_that_blocks_the_lane_is_seen_by_who_takes_its_messages(worker: Worker) -> None:
    worker.monitor.found = STALLED
    assert not worker.healthy()
    worker.monitor.found = HEALTHY
    assert worker.healthy()


@pytest.mark.parametrize("excuse", ["busy", "broker", "loading", "lost"])
def test_no_restart_for_what_a_restart_does_not_help(worker: Worker, excuse: str) -> None:
    worker.monitor.found = STALLED
    assert not worker.healthy()  # the control
    if excuse == "busy":
        worker.activity.is_busy = True
    elif excuse == "broker":
        worker.activity.broker_usable = False
    elif excuse == "loading":
        worker.beats.names = ()
    else:
        worker.activity.received_at -= LONG_AGO_S  # and no message waits: they were lost with the broker
    assert worker.healthy()


def test_files_of_dead_containers_go_and_a_loop_that_hangs_is_not_touched_for(tmp_path: Path) -> None:
    import os

    old, young = health_file(tmp_path, "search@old"), health_file(tmp_path, "search@../../young host")
    for path in (old, young):
        touch(path)
        assert path.parent == tmp_path / "health"
        assert path.stat().st_mode & 0o077 == 0
    os.utime(old, (time.time() - 8 * 86_400,) * 2)
    sweep(tmp_path)
    assert [path.exists() for path in (old, young)] == [False, True]

    hanging = LoopHeartbeat(young, max_turn_s=-1.0)
    mark_unhealthy(young)
    hanging.report()
    assert (age_s(young) or 0) > MAX_AGE_S
    LoopHeartbeat(young).report()
    assert (age_s(young) or 0) <= MAX_AGE_S
