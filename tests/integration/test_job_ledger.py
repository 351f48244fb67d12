"""The ledger of jobs, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared.catalogue.store import CatalogueStore
from shared.contracts import ProductIn
from shared.database import Database
from shared.database.idempotency import Idempotent
from shared.errors import InvalidInput, UnknownJob, UnknownProduct
from shared.jobs.plan import write_plan
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.jobs.work import ChunkClaim, Item, LostLease, Outcome, Problem


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    CatalogueStore(database).create("shop")
    return JobRepository(database)


def desk(database: Database, holder: str = "one", lease_s: float = 60, max_attempts: int = 4) -> JobQueue:
    return JobQueue(database, holder, lease_s, max_attempts, window=2)


def claim_of(worker: JobQueue) -> ChunkClaim:
    claim = worker.claim()
    assert claim is not None
    return claim


def rows(count: int) -> Iterator[Item | Problem]:
    for n in range(1, count + 1):
        yield Item(n, n, f"p{n}", {}, 0)


def planned(
    database: Database, jobs: JobRepository, count: int, chunk_items: int = 10
) -> tuple[str, JobQueue]:
    """A job whose manifest was read."""
    job = jobs.create_import("shop", {"path": "somewhere"}).id
    worker = desk(database)
    claim = claim_of(worker)
    assert (claim.number, claim.kind) == (0, "import")
    write_plan(worker, database, claim, rows(count), chunk_items)
    worker.finish(claim)
    return job, worker


def record(database: Database, worker: JobQueue, claim: ChunkClaim, result: str = "new") -> None:
    with database.write() as session:
        worker.record(session, claim, [Outcome(i, result, images=1) for i in worker.items(claim)])


def test_an_import_is_planned_worked_and_closed(database: Database, jobs: JobRepository) -> None:
    job, worker = planned(database, jobs, 25)
    assert jobs.status(job).total == 25
    sizes = []
    while (claim := worker.claim()) is not None:
        sizes.append(len(worker.items(claim)))
        record(database, worker, claim)
        worker.finish(claim)
    assert sizes == [10, 10, 5]
    done = jobs.status(job)
    assert (done.state, done.done, done.counts.new, done.images) == ("succeeded", 25, 25, 25)
    assert done.rate_per_s is not None


def test_a_job_keeps_a_window_of_chunks_in_flight(database: Database, jobs: JobRepository) -> None:
    job, worker = planned(database, jobs, 45)
    assert [c.rpartition(":")[2] for c in worker.list_overdue(10)] == ["1", "2"]
    first = claim_of(worker)
    assert [c.rpartition(":")[2] for c in worker.list_overdue(10)] == ["2"]
    record(database, worker, first)
    assert [c.rpartition(":")[2] for c in worker.finish(first)] == ["2", "3"]
    assert jobs.first_chunk(job).endswith(":0")


def test_bad_rows_are_counted_and_listed_page_by_page(database: Database, jobs: JobRepository) -> None:
    job = jobs.create_import("shop", {}).id
    worker = desk(database)
    claim = claim_of(worker)
    bad = [Problem(n, None, None, "missing_product_id", "no id") for n in range(1, 6)]
    twice = [Item(6, 6, "p", {}, 0), Item(7, 7, "p", {}, 0)]
    write_plan(worker, database, claim, [*bad, *twice], 10)
    worker.finish(claim)
    status = jobs.status(job)
    assert (status.total, status.counts.failed) == (7, 6)
    page = jobs.failures(job, limit=4)
    rest = jobs.failures(job, after=page.next, limit=4)
    reasons = [f.reason for f in (*page.failures, *rest.failures)]
    assert reasons == ["missing_product_id"] * 5 + ["duplicate_product_id"]
    assert rest.next is None
    with pytest.raises(InvalidInput):
        jobs.failures(job, after="1; drop table jobs")


def test_a_plan_that_was_cut_off_begins_anew(database: Database, jobs: JobRepository) -> None:
    job = jobs.create_import("shop", {}).id
    worker = desk(database)

    def torn() -> Iterator[Item | Problem]:
        yield Problem(1, None, None, "invalid_row", "bad")
        yield from list(rows(1500))[1:]
        raise ConnectionError("the worker dies here")

    with pytest.raises(ConnectionError):
        write_plan(worker, database, claim_of(worker), torn(), 100)
    worker.take_over()
    claim = claim_of(worker)
    write_plan(worker, database, claim, rows(30), 10)
    worker.finish(claim)
    status = jobs.status(job)
    assert (status.total, status.counts.failed) == (30, 0)
    assert len(worker.items(claim_of(worker))) == 10


def test_a_worker_that_lost_its_lease_writes_nothing(database: Database, jobs: JobRepository) -> None:
    job, _ = planned(database, jobs, 5)
    slow, quick = desk(database, "slow", lease_s=-1), desk(database, "quick")
    late = claim_of(slow)
    assert quick.sweep() == 1
    claim = claim_of(quick)
    with pytest.raises(LostLease):
        record(database, slow, late, "failed")
    record(database, quick, claim)
    quick.finish(claim)
    with pytest.raises(LostLease):
        slow.finish(late)
    status = jobs.status(job)
    assert (status.state, status.counts.new, status.counts.failed) == ("succeeded", 5, 0)


def test_only_what_is_left_of_a_chunk_is_done_again(database: Database, jobs: JobRepository) -> None:
    job, worker = planned(database, jobs, 10)
    claim = claim_of(worker)
    with database.write() as session:
        worker.record(session, claim, [Outcome(i, "new") for i in worker.items(claim)[:6]])
    worker.take_over()
    again = claim_of(worker)
    assert (again.attempts, [i.number for i in worker.items(again)]) == (2, [7, 8, 9, 10])
    record(database, worker, again)
    worker.finish(again)
    assert jobs.status(job).counts.new == 10


def test_a_chunk_that_always_dies_is_given_up_and_the_job_ends(
    database: Database, jobs: JobRepository
) -> None:
    job, worker = planned(database, jobs, 12)
    for _ in range(4):
        assert claim_of(worker).number == 1
        worker.take_over()
    last = claim_of(worker)
    assert last.number == 2
    record(database, worker, last)
    worker.finish(last)
    status = jobs.status(job)
    assert (status.state, status.counts.new, status.counts.failed) == ("succeeded", 2, 10)
    assert {f.reason for f in jobs.failures(job).failures} == {"given_up"}


def test_a_manifest_nobody_can_read_fails_the_job(database: Database, jobs: JobRepository) -> None:
    job = jobs.create_import("shop", {}).id
    worker = desk(database)
    worker.fail_job(claim_of(worker), "invalid_manifest", "This is not a zip file.")
    status = jobs.status(job)
    assert status.state == "failed"
    assert status.error is not None
    assert status.error.code == "invalid_manifest"
    assert worker.claim() is None


def test_a_product_put_by_hand_goes_before_a_bulk_import(database: Database, jobs: JobRepository) -> None:
    _, worker = planned(database, jobs, 30)
    put = jobs.create_put("shop", "urgent", ProductIn(titles={"en": "Urgent"}), [])
    claim = claim_of(worker)
    assert (claim.job_id, claim.kind) == (put.id, "put")


def test_a_cancelled_job_starts_nothing_and_stops_what_runs(database: Database, jobs: JobRepository) -> None:
    job, worker = planned(database, jobs, 30)
    running = claim_of(worker)
    assert jobs.cancel(job).state == "cancelled"
    assert worker.claim() is None
    with pytest.raises(LostLease):
        record(database, worker, running)
    worker.sweep()
    assert jobs.status(job).state == "cancelled"


def test_keys_and_ids(database: Database, jobs: JobRepository) -> None:
    first = jobs.create_import("shop", {}, Idempotent("k", "d"))
    again = jobs.create_import("shop", {}, Idempotent("k", "d"))
    assert (first.created, again.created, first.id) == (True, False, again.id)
    with pytest.raises(UnknownJob):
        jobs.status("nothing")
    with pytest.raises(UnknownProduct):
        jobs.create_delete("shop", ["nothing"])
    assert [j.id for j in jobs.list_recent("shop")] == [first.id]


def test_the_migrations_make_just_the_tables_that_the_code_knows(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from shared.database.tables import Base

    with database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        differences: list[Any] = compare_metadata(context, Base.metadata)
    assert differences == []
