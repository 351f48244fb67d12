"""Ended jobs leave their counts: the rows of their items do not outweigh the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from shared.contracts.states import JobState
from shared.database import Database
from shared.database.clock import now_s
from shared.database.migrate import migrate
from shared.database.tables import Chunk, Job, JobFailure, JobItem
from shared.errors import Expired
from shared.jobs.repository import JobRepository
from shared.retention.job_rows import JobRowSweeper
from tests.job_builders import claim_of, desk, do, ended, jobs, planned
from tests.large_catalogue import add_ended_job, create_catalogue, fill

__all__ = ["jobs"]

_DAY_S = 86_400.0
_WEEK_S = 7 * _DAY_S
_ALL = 10**9


def count(database: Database, table: Any, job: str) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).where(table.job_id == job)) or 0


def age(database: Database, job: str, seconds: float) -> None:
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job).values(finished_at=now_s() - seconds))


def test_a_succeeded_job_keeps_only_what_can_be_retried(database: Database, jobs: JobRepository) -> None:
    job = ended(database, jobs, {"p3": "unreadable_image"})
    JobRowSweeper(database, _WEEK_S).sweep(_ALL)
    with database.read() as session:
        left = session.scalars(select(JobItem.product_id).where(JobItem.job_id == job)).all()
    # p1 came twice in the manifest, so that a failure names it.
    assert sorted(left) == ["p1", "p3"]
    assert jobs.status(job).counts.new == 9
    assert jobs.failures(job).reasons == {
        "duplicate_product_id": 1,
        "missing_product_id": 1,
        "unreadable_image": 1,
    }
    assert jobs.status(jobs.retry(job, None, 10).id).total == 1


def test_after_a_week_only_the_counts_are_left(database: Database, jobs: JobRepository) -> None:
    job = ended(database, jobs, {"p3": "unreadable_image"})
    before = jobs.status(job)
    age(database, job, _WEEK_S + 60)
    JobRowSweeper(database, _WEEK_S).sweep(_ALL)
    assert [count(database, table, job) for table in (JobItem, JobFailure, Chunk)] == [0, 0, 0]
    after = jobs.status(job)
    assert (after.counts, after.state) == (before.counts, before.state)
    with pytest.raises(Expired, match="keep_rows_s"):
        jobs.failures(job)
    with pytest.raises(Expired, match="was deleted"):
        jobs.retry(job, None, 10)
    assert JobRowSweeper(database, _WEEK_S).sweep(_ALL) == 0


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_job_that_did_not_succeed_keeps_all_its_rows(
    database: Database, jobs: JobRepository, state: JobState
) -> None:
    """A retry does the items that were not done, and their rows name them."""
    job = ended(database, jobs, {})
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job).values(state=state))
    JobRowSweeper(database, _WEEK_S).sweep(_ALL)
    assert count(database, JobItem, job) == 10


def test_open_jobs_keep_their_rows(database: Database, jobs: JobRepository) -> None:
    job = planned(database, jobs)
    worker = desk(database)
    do(database, worker, claim_of(worker), {}, 5)
    JobRowSweeper(database, 0.0).sweep(_ALL)
    assert count(database, JobItem, job) == 10


def test_a_sweep_is_bounded_and_the_next_goes_on(
    database: Database, jobs: JobRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.retention.job_rows._BATCH_ROWS", 3)
    job = ended(database, jobs, {})
    age(database, job, _WEEK_S + 60)
    sweeper = JobRowSweeper(database, _WEEK_S)
    assert 3 <= sweeper.sweep(3) < 7
    assert 0 < count(database, JobItem, job) < 10
    for _ in range(10):
        sweeper.sweep(3)
    assert count(database, JobItem, job) == 0


@pytest.mark.slow
@pytest.mark.parametrize("sweeps", [True, False], ids=["swept", "control"])
def test_a_month_of_nightly_jobs_does_not_grow_the_database(tmp_path: Path, sweeps: bool) -> None:
    """Each night a job over the whole catalogue: SQLite uses the freed pages again."""
    file, products = tmp_path / "vitrine.sqlite3", 2_000
    database = Database(f"sqlite:///{file}")
    migrate(database)
    create_catalogue(database)
    fill(database, products)
    sizes = []
    for night in range(30):
        add_ended_job(database, f"night{night}", products, now_s() - (30 - night) * _DAY_S)
        if sweeps:
            JobRowSweeper(database, _WEEK_S).sweep(_ALL)
        sizes.append(_size(database))
    database.close()
    assert (sizes[-1] <= 1.2 * sizes[0]) is sweeps


def _size(database: Database) -> int:
    with database.read() as session:
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
        return int(pages)
