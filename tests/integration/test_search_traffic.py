"""The search lane stays bounded under mixed traffic: with one and with three workers, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from shared.broker.publisher import TaskPublisher
from shared.broker.task_names import TaskName
from tests.databases import new_postgres_database
from tests.servers import RedisServer, wait_for
from tests.stack import ROOT
from tests.stub_worker import BATCH, FAILING_TOP_K, TASKS_KEY
from tests.traffic import ENDED, LaneWatch, Traffic
from tests.web_builders import Shop, open_shop, serving
from worker.maintenance.sweeper import build_sweeper

SECONDS = float(os.environ.get("VITRINE_TRAFFIC_S", "4"))
KEY = "a-key-for-this-test-alone"
SHOPPERS = 4
#: Memory that the broker keeps for every worker: its presence in the event channels, and the like.
FLAT_BYTES = 300_000


class CountingPublisher(TaskPublisher):
    """Publishes for real, and records the rows whose message the broker took."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url)
        self.published: list[str] = []

    def publish(self, task: TaskName, row_id: str, *labels: Any) -> bool:
        taken = super().publish(task, row_id, *labels)
        if taken:
            self.published.append(row_id)
        return taken


@contextmanager
def stub_workers(shop: Shop, count: int) -> Iterator[None]:
    env = {
        **os.environ,
        "PYTHONPATH": ".",
        "VITRINE_DATA_DIR": str(shop.settings.data_dir),
        "VITRINE_REDIS__URL": shop.settings.redis_url,
        "VITRINE_DATABASE__URL": shop.settings.database_url,
    }
    base = [sys.executable, "-m", "celery", "-A", "tests.stub_worker", "worker", "--queues", "search"]
    processes = []
    for number in range(count):
        argv = [*base, "--hostname", f"search-{number}@%h"]
        with (Path(shop.settings.data_dir) / f"worker-{number}.log").open("ab") as log:
            processes.append(subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=log))
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


@contextmanager
def sweeping(shop: Shop, publisher: TaskPublisher) -> Iterator[None]:
    """Let the maintenance process's sweeps run in a thread."""
    sweeper, stopped = build_sweeper(shop.settings), threading.Event()
    sweeper.republisher.publisher = publisher

    def sweep() -> None:
        while not stopped.wait(shop.settings.sweep.interval_s):
            sweeper.sweep()

    thread = threading.Thread(target=sweep, daemon=True)
    thread.start()
    yield
    stopped.set()
    thread.join()
    sweeper.database.close()


def open_lane(folder: Path, broker: RedisServer, database_url: str) -> Shop:
    return open_shop(
        folder,
        broker.url,
        CountingPublisher(broker.url),  # type: ignore[arg-type]
        database={"url": database_url},
        web={"api_key": KEY, "searches_per_minute": 1_000_000},
        sweep={"interval_s": 0.3, "republish_after_s": 1.0},
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def lane(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> Shop:
    url = f"sqlite:///{tmp_path}/vitrine.sqlite3"
    if request.param == "postgresql":
        url = new_postgres_database(request.getfixturevalue("postgres"))
    return open_lane(tmp_path, redis_server, url)


@pytest.mark.parametrize("workers", [1, 3])
def test_messages_and_tasks_are_bounded_by_searches(
    lane: Shop, redis_server: RedisServer, workers: int
) -> None:
    broker, ledger = redis_server.client(), lane.parts.searches
    accepting, republishing = lane.publisher, CountingPublisher(redis_server.url)
    with serving(lane) as url, stub_workers(lane, workers), sweeping(lane, republishing):
        traffic = Traffic(url, KEY, "demo", FAILING_TOP_K)

        def explained() -> int:
            """Count the searches that may have a message: they wait, or were cancelled while they did."""
            return ledger.count_waiting() + len(traffic.cancelled - set(executed_tasks(broker)))

        watch = LaneWatch(broker, explained, stale=workers * BATCH)
        # Until the workers are there the queue fills: also then it holds no more than what waits.
        with watch:
            traffic.run(SECONDS / 4, SHOPPERS)
            wait_for("the workers answer", lambda: broker.llen(TASKS_KEY))
            traffic.run(SECONDS / 4, SHOPPERS)
            wait_for("all are answered", lambda: all_ended(lane, traffic))
            wait_for("the queue is empty", lambda: watch.queued() == 0)
            half_way = watch.memory()
            traffic.run(SECONDS / 2, SHOPPERS)
            wait_for("all are answered", lambda: all_ended(lane, traffic))
            wait_for("the queue is empty", lambda: watch.queued() == 0)
        quiet_s = 3 * lane.settings.sweep.interval_s
        before = broker.llen(TASKS_KEY)
        time.sleep(quiet_s)
        executed = executed_tasks(broker)
    assert traffic.unexpected == []
    assert min(traffic.counts[kind] for kind in KINDS) > 0, traffic.counts
    assert watch.violations == []
    assert sorted(accepting.published) == sorted(traffic.accepted), "one message for each accepted search"
    assert len(executed) <= len(traffic.accepted) + len(republishing.published)
    assert set(executed) == traffic.accepted, "a refused or repeated request cost the workers nothing"
    assert len(executed) == before, "without traffic no task runs"
    # The list of executed tasks is this test's own.
    assert watch.memory() - half_way < FLAT_BYTES + 200 * len(executed)


KINDS = (
    "accepted",
    "failing",
    "cancelled",
    "repeated",
    "conflict",
    "unknown catalogue",
    "unknown product",
    "invalid",
    "unauthorised",
)


def executed_tasks(broker: redis.Redis) -> list[str]:
    """List the searches whose task ran, as often as it did."""
    return [task.decode() for task in broker.lrange(TASKS_KEY, 0, -1)]  # type: ignore[union-attr]


def all_ended(lane: Shop, traffic: Traffic) -> bool:
    return all(lane.parts.searches.status(each).state in ENDED for each in traffic.accepted)


@pytest.mark.parametrize("extra", [0, 1])
def test_control_the_watch_sees_messages_that_no_search_explains(
    tmp_path: Path, redis_server: RedisServer, extra: int
) -> None:
    lane = open_lane(tmp_path, redis_server, f"sqlite:///{tmp_path}/vitrine.sqlite3")
    watch = LaneWatch(redis_server.client(), lane.parts.searches.count_waiting, stale=BATCH)
    for number in range(BATCH + extra):
        lane.publisher.publish(TaskName.ANSWER_SEARCH, f"nothing-{number}")
    watch.check()
    assert len(watch.violations) == extra


def test_a_wiped_broker_is_filled_again_with_no_more_than_waits(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """No worker runs: the sweeper publishes each waiting search once, and then at growing intervals."""
    lane = open_lane(tmp_path, redis_server, f"sqlite:///{tmp_path}/vitrine.sqlite3")
    with serving(lane) as url:
        Traffic(url, KEY, "demo").run(0.5, 2)
    waiting = lane.parts.searches.count_waiting()
    assert waiting > 0
    redis_server.client().delete("search")
    watch = LaneWatch(redis_server.client(), lane.parts.searches.count_waiting, stale=0)
    republishing = CountingPublisher(redis_server.url)
    with watch, sweeping(lane, republishing):
        wait_for("each waiting search has a message", lambda: watch.queued() == waiting)
        time.sleep(4 * lane.settings.sweep.interval_s)
    assert watch.violations == []
    assert sorted(republishing.published) == sorted(set(republishing.published))
    assert watch.queued() == waiting
