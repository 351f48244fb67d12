"""A lane is judged by its work: what waits, since when, and what its workers did meanwhile."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import update

from shared.broker.task_names import Lane
from shared.catalogue.store import CatalogueStore
from shared.contracts import SearchOptions
from shared.contracts.states import JobKind
from shared.contracts.stored import NEEDS, READS
from shared.database import Database
from shared.database.tables import Chunk, Job, Search
from shared.health import lanes
from shared.health.lanes import LaneMonitor
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.searches.queue import SearchQueue
from shared.searches.repository import SearchRepository, SearchSource

LEASE_S = 30.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_CONFIRM_S", 0.0)


@pytest.fixture
def monitor(database: Database) -> LaneMonitor:
    CatalogueStore(database).create("demo")
    return LaneMonitor(database, LEASE_S)


def search(database: Database, age_s: float) -> str:
    made = SearchRepository(database).accept(
        "demo", SearchOptions(catalogue="demo"), SearchSource(query_key="k"), ttl_s=3600
    )
    set_search(database, made.id, created_at=time.time() - age_s)
    return made.id


def set_search(database: Database, search_id: str, **values: object) -> None:
    with database.write() as session:
        session.execute(update(Search).where(Search.id == search_id).values(**values))


def test_an_empty_lane_and_a_young_search_are_healthy(database: Database, monitor: LaneMonitor) -> None:
    assert (monitor.read(Lane.SEARCH).oldest_s, monitor.read(Lane.SEARCH).message) == (None, "ok")
    search(database, 3.0)
    found = monitor.read(Lane.SEARCH)
    assert found.healthy
    assert found.oldest_s == pytest.approx(3.0, abs=2.0)


def test_a_search_that_waits_while_nothing_is_done_names_the_lane(
    database: Database, monitor: LaneMonitor
) -> None:
    search(database, 43.0)
    found = monitor.read(Lane.SEARCH)
    assert not found.healthy
    assert found.message.startswith("lane search not healthy: oldest waiting 4")
    assert "no worker completed anything ever" in found.message
    assert monitor.read(Lane.CATALOGUE).healthy  # the control: another lane has nothing to do with it


@pytest.mark.parametrize(
    "progress",
    [
        {"state": "succeeded", "finished_at": -2.0},
        {"state": "failed", "finished_at": -2.0},
        {"state": "running", "lease_until": LEASE_S - 2.0},
        {"state": "queued", "lease_until": 1.5},  # put back: Milvus is away, which is no fault of the lane
    ],
)
def test_a_long_queue_is_healthy_while_workers_get_on(
    database: Database, monitor: LaneMonitor, progress: dict[str, float | str]
) -> None:
    search(database, 60.0)
    other = search(database, 30.0)
    set_search(
        database,
        other,
        **{name: time.time() + v if isinstance(v, float) else v for name, v in progress.items()},
    )
    found = monitor.read(Lane.SEARCH)
    assert found.healthy
    assert found.oldest_s == pytest.approx(60.0, abs=5.0)
    old = {name: time.time() - 50.0 if isinstance(v, float) else v for name, v in progress.items()}
    set_search(database, other, **old)
    assert not monitor.read(Lane.SEARCH).healthy


def test_a_search_that_is_claimed_and_answered_heals_the_lane(
    database: Database, monitor: LaneMonitor
) -> None:
    search(database, 60.0)
    assert not monitor.read(Lane.SEARCH).healthy
    SearchQueue(database, "worker", LEASE_S, 4).claim(1)
    assert monitor.read(Lane.SEARCH).healthy


def test_a_job_that_no_worker_takes_names_its_lane_until_one_does(
    database: Database, monitor: LaneMonitor
) -> None:
    job = JobRepository(database).create(JobKind.RECONCILE, "demo", {})
    assert monitor.read(Lane.CATALOGUE).healthy
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job.id).values(created_at=time.time() - 43.0))
    found = monitor.read(Lane.CATALOGUE)
    assert found.message.startswith("lane catalogue not healthy: oldest waiting 4")
    assert JobQueue(database, "worker", 120.0, 4, 4).claim() is not None
    assert monitor.read(Lane.CATALOGUE).healthy


def test_chunks_that_wait_behind_one_at_work_are_no_stall_and_a_paused_job_waits_for_a_person(
    database: Database, monitor: LaneMonitor
) -> None:
    jobs = JobRepository(database)
    first, second = jobs.create(JobKind.RECONCILE, "demo", {}), jobs.create(JobKind.CALIBRATE, "demo", {})
    with database.write() as session:
        session.execute(update(Job).values(created_at=time.time() - 900.0))
        session.execute(
            update(Chunk)
            .where(Chunk.job_id == first.id)
            .values(state="running", lease_until=time.time() + 60.0)
        )
    assert monitor.read(Lane.CATALOGUE).healthy
    jobs.pause(first.id)
    assert not monitor.read(Lane.CATALOGUE).healthy
    jobs.pause(second.id)
    assert monitor.read(Lane.CATALOGUE).healthy


def test_a_search_for_a_newer_worker_is_no_fault_of_an_older_one(
    database: Database, monitor: LaneMonitor
) -> None:
    newer = search(database, 60.0)
    assert not monitor.read(Lane.SEARCH).healthy  # the control
    set_search(database, newer, options={"catalogue": "demo", NEEDS: READS + 1})
    assert monitor.read(Lane.SEARCH).healthy
