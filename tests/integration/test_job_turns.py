"""Whose turn it is: urgent work, then catalogues one after another, then what the system began (M1)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from shared.catalogue.automatic_calibration import ORIGIN
from shared.catalogue.store import CatalogueStore
from shared.contracts import ProductIn
from shared.contracts.states import JobKind
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import now_s
from shared.database.tables import Chunk, Job
from shared.jobs import turns as job_turns
from shared.jobs.create import add_job
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.jobs.states import BACKGROUND
from shared.jobs.work import ChunkClaim
from tests.job_builders import claim_of, desk, do, planned

pytestmark = pytest.mark.slow

CATALOGUES = ("shop", "books", "toys")


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    for name in CATALOGUES:
        CatalogueStore(database).create(name)
    return JobRepository(database)


def put(jobs: JobRepository, catalogue: str, product: str) -> str:
    return jobs.create_put(catalogue, product, ProductIn(), []).id


def calibrate(database: Database, catalogue: str) -> str:
    """A job as the system begins it."""
    with database.write() as session:
        place = find_catalogue(session, catalogue)
        return add_job(session, place, JobKind.CALIBRATE, options=dict(ORIGIN), priority=BACKGROUND)


def taken(worker: JobQueue, count: int) -> list[ChunkClaim]:
    """Claims of so many chunks, each finished before the next is taken."""
    claims = []
    for _ in range(count):
        claims.append(claim_of(worker))
        worker.finish(claims[-1])
    return claims


def fill(database: Database, catalogue: int, count: int, state: str, **of_job: Any) -> None:
    """Put jobs of one item each into the tables, without their items."""
    chunk_state = "waiting" if state == "queued" else "done"
    base = {"kind": "put", "catalogue_id": catalogue, "state": state, "source": {}, "options": {}}
    base |= {"phase": "work", "total": 1, "priority": 0, **of_job}
    begin = now_s() - count
    ids = [f"{state}-{catalogue}-{n:06}" for n in range(count)]
    with database.write() as session:
        session.execute(insert(Job), [{**base, "id": i, "created_at": begin + n} for n, i in enumerate(ids)])
        session.execute(
            insert(Chunk),
            [
                {"id": f"{i}:1", "job_id": i, "number": 1, "priority": 0, "first": 1, "last": 1,
                 "state": chunk_state}
                for i in ids
            ],
        )  # fmt: skip


def test_a_flood_in_one_catalogue_keeps_another_waiting_for_one_chunk(
    database: Database, jobs: JobRepository
) -> None:
    fill(database, 1, 3000, "queued")
    worker = desk(database)
    taken(worker, 5)
    other = put(jobs, "books", "one")
    assert [claim.job_id for claim in taken(worker, 1)] == [other]
    assert {claim.catalogue for claim in taken(worker, 3)} == {"shop"}


def test_single_updates_in_the_middle_of_an_import_take_turns_too(
    database: Database, jobs: JobRepository
) -> None:
    jobs.create_import("toys", {"archive": "upload"})
    worker = desk(database)
    bulk = claim_of(worker)
    fill(database, 1, 300, "queued")
    first = worker.claim(within=bulk)
    other = put(jobs, "books", "one")
    second = worker.claim(within=bulk)
    assert first is not None
    assert second is not None
    assert (first.catalogue, second.job_id) == ("shop", other)


def test_catalogues_take_turns_by_chunk_and_the_oldest_job_goes_first_within_one(
    database: Database, jobs: JobRepository
) -> None:
    first = {name: put(jobs, name, "a") for name in CATALOGUES}
    second = {name: put(jobs, name, "b") for name in reversed(CATALOGUES)}
    claims = taken(desk(database), 6)
    assert [c.job_id for c in claims[:3]] == [first[name] for name in CATALOGUES]
    # The catalogue that was served longest ago is the next, whichever of its jobs came when.
    assert [c.job_id for c in claims[3:]] == [second[name] for name in CATALOGUES]


def test_imports_of_two_catalogues_share_a_worker_chunk_by_chunk(
    database: Database, jobs: JobRepository
) -> None:
    planned(database, jobs, 40)
    jobs.create_import("books", {"archive": "upload"})
    worker = desk(database)
    order = []
    for _ in range(4):
        claim = claim_of(worker)
        order.append((claim.catalogue, claim.number))
        if claim.number:
            do(database, worker, claim, {})
            worker.finish(claim)
    # Number 0 of the second import stays with this worker: its plan is not made here.
    assert order == [("books", 0), ("shop", 1), ("shop", 2), ("shop", 3)]


def test_urgent_work_goes_first_whoever_was_served_last(database: Database, jobs: JobRepository) -> None:
    system = calibrate(database, "toys")
    bulk = jobs.create_import("books", {"archive": "upload"}).id
    urgent = [put(jobs, "shop", product) for product in ("a", "b")]
    claims = taken(desk(database), 4)
    assert [c.job_id for c in claims] == [*urgent, bulk, system]


def test_a_job_the_system_began_gives_way_and_goes_on_afterwards(
    database: Database, jobs: JobRepository
) -> None:
    """Case 23: an import of another catalogue waited 245 s for a calibration."""
    system, worker = calibrate(database, "shop"), desk(database)
    claim = claim_of(worker)
    assert (claim.job_id, worker.preemption_reason(claim)) == (system, None)
    wanted = jobs.create_import("books", {"archive": "upload"}).id
    reason = worker.preemption_reason(claim)
    assert reason is not None
    assert wanted in reason
    worker.give_way(claim, reason)
    assert jobs.status(system).waits_for == reason
    person = claim_of(worker)
    assert person.job_id == wanted
    assert worker.preemption_reason(person) is None
    worker.finish(person)
    after = claim_of(worker)
    # It is the first try, as before: nobody failed.
    assert (after.id, after.attempts) == (claim.id, 1)
    assert jobs.status(system).waits_for is None


def test_control_a_bulk_job_that_was_asked_for_gives_way_to_no_other(
    database: Database, jobs: JobRepository
) -> None:
    jobs.create_import("shop", {"archive": "upload"})
    worker = desk(database)
    claim = claim_of(worker)
    jobs.create_import("books", {"archive": "upload"})
    assert worker.preemption_reason(claim) is None


def test_what_backs_off_or_is_paused_is_passed_over(database: Database, jobs: JobRepository) -> None:
    worker = desk(database)
    waits, paused, free = put(jobs, "shop", "a"), put(jobs, "shop", "b"), put(jobs, "shop", "c")
    worker.postpone(claim_of(worker), 600.0, "away", count_attempt=False)
    jobs.pause(paused)
    assert claim_of(worker).job_id == free
    assert worker.claim() is None
    assert jobs.status(waits).state == "running"
    assert worker.list_overdue(10) == []


def test_retrying_what_the_system_began_is_asked_for(database: Database, jobs: JobRepository) -> None:
    system, worker = calibrate(database, "shop"), desk(database)
    worker.fail_job(claim_of(worker), "internal", "it is wrong")
    again = jobs.retry(system, None, 10).id
    claim = claim_of(worker)
    assert (claim.job_id, claim.options) == (again, {})
    jobs.create_import("books", {"archive": "upload"})
    assert worker.preemption_reason(claim) is None


def test_workers_that_claim_at_once_take_each_chunk_once(database: Database, jobs: JobRepository) -> None:
    expected = {put(jobs, name, f"p{n}") for n in range(10) for name in CATALOGUES}
    claims: list[ChunkClaim] = []
    begin = threading.Barrier(3)

    def work(worker: JobQueue) -> None:
        begin.wait()
        while (claim := worker.claim()) is not None:
            claims.append(claim)

    threads = [threading.Thread(target=work, args=(desk(database, f"w{n}"),)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(c.job_id for c in claims) == sorted(expected)


def plan_of(database: Database, statement: Any) -> str:
    dialect = database.engine.dialect
    compiled = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    prefix = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    with database.read() as session:
        rows: Sequence[Any] = session.execute(text(prefix + compiled.replace(":", "\\:"))).all()
    return "\n".join(str(row[-1]) for row in rows)


def test_the_choice_reads_neither_ended_jobs_nor_the_rest_of_the_queue(
    database: Database, jobs: JobRepository
) -> None:
    fill(database, 1, 20_000, "succeeded", claimed_at=1.0)
    fill(database, 1, 5_000, "queued")
    with database.write() as session:
        session.execute(text("ANALYZE"))
    plan = plan_of(database, job_turns._turns(False, False).params(now=now_s()))
    assert "ix_jobs_open" in plan, plan
    assert "ix_jobs_turn" in plan, plan
    scans = (
        "SCAN jobs",
        "SCAN chunks",
        "SCAN jobs_1",
        "SCAN jobs_2",
        "Seq Scan on jobs",
        "Seq Scan on chunks",
    )
    assert not any(scan in plan for scan in scans), plan


def test_jobs_of_a_version_that_knew_no_priority_are_done_too(
    database: Database, jobs: JobRepository
) -> None:
    """A web of the version before makes jobs while workers are of this one."""
    job = put(jobs, "shop", "a")
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job).values(priority=10))
    assert claim_of(desk(database)).job_id == job
