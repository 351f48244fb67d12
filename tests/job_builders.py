"""Jobs with a plan, and what a worker records of them, without any picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.catalogue.store import CatalogueStore
from shared.database import Database
from shared.database.clock import now_s
from shared.jobs import queue as job_desk
from shared.jobs import view as job_view
from shared.jobs.plan import write_plan
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem

LEASE_S = 60.0


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    CatalogueStore(database).create("shop")
    return JobRepository(database)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass for the ledger."""
    passed = [0.0]
    for module in (job_desk, job_view):
        monkeypatch.setattr(module, "now_s", lambda: now_s() + passed[0])

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    return go_on


def desk(
    database: Database, holder: str = "one", stop_requested: Callable[[], bool] = lambda: False
) -> JobQueue:
    return JobQueue(database, holder, LEASE_S, 4, 2, stop_requested)


def claim_of(worker: JobQueue) -> ChunkClaim:
    claim = worker.claim()
    assert claim is not None
    return claim


def planned(
    database: Database, jobs: JobRepository, count: int = 10, *, chunk_items: int = 10, finish: bool = False
) -> str:
    job = jobs.create_import("shop", {"archive": "upload"}).id
    worker = desk(database)
    claim = claim_of(worker)
    items = [Item(n, n + 1, f"p{n}", {"product": {"n": n}}, 0) for n in range(1, count + 1)]
    bad = Problem(1, None, None, "missing_product_id", "no id")
    again = Item(0, count + 2, "p1", {}, 0)  # a failure of the manifest's, whose product is no failure
    write_plan(worker, database, claim, [bad, *items, again], chunk_items, finish=finish)
    worker.finish(claim)
    return job


def do(
    database: Database, worker: JobQueue, claim: ChunkClaim, fails: dict[str, str], count: int | None = None
) -> None:
    """Record a chunk's items, those named in ``fails`` with that reason."""
    with database.write() as session:
        outcomes = []
        for item in worker.items(claim)[:count]:
            reason = fails.get(item.product_id)
            problems = [Problem(item.row, item.product_id, None, reason, "it is wrong")] if reason else []
            outcomes.append(Outcome(item, "failed" if reason else "new", problems=problems))
        worker.record(session, claim, outcomes)


def ended(database: Database, jobs: JobRepository, fails: dict[str, str]) -> str:
    job = planned(database, jobs)
    worker = desk(database)
    claim = claim_of(worker)
    do(database, worker, claim, fails)
    worker.finish(claim)
    assert jobs.status(job).state == "succeeded"
    return job
