"""Jobs that a newer version wrote, or that are damaged: the catalogue lane goes on with the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from shared.contracts.stored import READS
from shared.database import Database
from shared.database.tables import Job, JobItem
from shared.jobs.repository import JobRepository
from tests.compat.rows import TRIES, clock, lane, products, rewrite, work
from worker.jobs.lane import CatalogueLane, job_kinds

__all__ = ["clock", "lane", "products"]

FUTURE_JOBS: dict[str, dict[str, Any]] = {
    "options that need a newer worker": {"options": {"needs": READS + 1}},
    "a kind of job that is not known": {"kind": "retag"},
}
SPOILED_JOBS: dict[str, dict[str, Any]] = {
    "an option of a wrong type": {"kind": "reconcile", "options": {"repair": "perhaps"}},
    "an option of no known value": {"kind": "reprocess", "options": {"scope": "some"}},
    "an import's option out of range": {"kind": "import", "options": {"max_delete_share": 7}},
    "options that are a list": {"options": [1]},
    "options that are a text": {"options": "all"},
    "a source that is a number": {"source": 5},
    "a pace that is none": {"pace": {"a": "b"}, "options": [1]},
    "a report that is none": {"report": "text", "options": [1]},
}


@pytest.mark.parametrize("change", FUTURE_JOBS.values(), ids=FUTURE_JOBS)
def test_a_job_of_a_newer_version_waits_and_blocks_nobody(
    database: Database, products: list[str], lane: CatalogueLane, change: dict[str, Any]
) -> None:
    ledger = JobRepository(database)
    newer, normal = (ledger.create_delete("shop", [p]).id for p in products[:2])
    rewrite(database, Job, newer, **change)
    work(lane)
    assert ledger.status(normal).state == "succeeded"
    assert ledger.status(newer).state == "queued"
    assert {job.id for job in ledger.list_recent()} == {newer, normal}
    assert ledger.cancel(newer).state == "cancelled", "who waits in vain can end it"


@pytest.mark.parametrize("change", SPOILED_JOBS.values(), ids=SPOILED_JOBS)
def test_a_damaged_job_fails_alone_after_its_attempts(
    database: Database,
    products: list[str],
    lane: CatalogueLane,
    change: dict[str, Any],
    clock: Callable[[float], None],
) -> None:
    ledger = JobRepository(database)
    bad, normal = (ledger.create_delete("shop", [p]).id for p in products[:2])
    rewrite(database, Job, bad, **change)
    work(lane)
    assert ledger.status(normal).state == "succeeded"
    assert ledger.status(bad).state in ("queued", "running")
    for _ in range(TRIES):
        clock(300)
        work(lane)
    status = ledger.status(bad)
    assert status.state == "failed"
    assert status.error is not None
    assert status.error.code == "unreadable_row"


def test_a_damaged_item_fails_alone(database: Database, products: list[str], lane: CatalogueLane) -> None:
    ledger = JobRepository(database)
    job = ledger.create_delete("shop", products).id
    with database.write() as session:
        session.execute(update(JobItem).where(JobItem.product_id == "p2").values(payload=[1]))
    work(lane)
    status = ledger.status(job)
    assert (status.state, status.counts.deleted, status.counts.failed) == ("succeeded", 3, 1)
    assert [(f.product_id, f.reason) for f in ledger.failures(job).failures] == [("p2", "unreadable_row")]


def test_items_of_a_newer_version_are_left_to_a_newer_worker(
    database: Database, products: list[str], lane: CatalogueLane, clock: Callable[[float], None]
) -> None:
    ledger = JobRepository(database)
    job = ledger.create_delete("shop", products).id
    with database.write() as session:
        session.execute(update(JobItem).where(JobItem.number == 2).values(payload={"needs": READS + 1}))
    for _ in range(TRIES + 2):
        work(lane)
        clock(60)
    assert ledger.status(job).state == "running"
    assert ledger.status(job).done == 0
    with database.write() as session:
        session.execute(update(JobItem).where(JobItem.number == 2).values(payload={"needs": READS}))
    work(lane)
    assert ledger.status(job).state == "succeeded"


def test_the_kinds_that_are_claimed_are_those_that_can_be_done(lane: CatalogueLane) -> None:
    from shared.contracts.states import JobKind

    assert set(JobKind) == set(job_kinds(lane.context))
