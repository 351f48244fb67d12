"""Jobs are paused, resumed, cancelled and retried."""

from __future__ import annotations

import threading

import pytest

from shared.database import Database
from shared.database.tables import Job
from shared.errors import Conflict, UnknownJob
from shared.jobs import control as job_control
from shared.jobs.repository import JobRepository
from shared.jobs.work import ChunkClaim, LostLease, Outcome, Problem
from shared.retention.expiry import expired_imports
from tests.job_builders import claim_of, desk, do, ended, jobs, planned

__all__ = ["jobs"]


def test_a_paused_job_gives_its_chunk_back_and_goes_on_when_resumed(
    database: Database, jobs: JobRepository
) -> None:
    job, worker = planned(database, jobs), desk(database)
    claim = claim_of(worker)
    do(database, worker, claim, {}, count=4)
    assert jobs.pause(job).state == "paused"
    with pytest.raises(LostLease):
        do(database, worker, claim, {})
    with pytest.raises(LostLease):
        worker.finish(claim)
    assert not worker.renew(claim)
    assert worker.claim() is None
    assert worker.list_overdue(10) == []
    worker.sweep()
    assert (jobs.pause(job).state, jobs.status(job).done) == ("paused", 6)
    resumed = jobs.resume(job)
    assert (resumed.state, jobs.resume(job).state) == ("running", "running")
    again = claim_of(worker)
    # A pause is nobody's failure: the chunk is on its first try still.
    assert (again.id, again.attempts, len(worker.items(again))) == (claim.id, 1, 6)
    do(database, worker, again, {})
    worker.finish(again)
    assert jobs.status(job).state == "succeeded"


def test_a_job_that_was_paused_before_it_began_waits_again(database: Database, jobs: JobRepository) -> None:
    job = jobs.create_import("shop", {}).id
    jobs.pause(job)
    assert desk(database).claim() is None
    assert jobs.resume(job).state == "queued"
    assert claim_of(desk(database)).job_id == job


def test_a_chunk_taken_in_the_moment_of_the_pause_is_told_no(database: Database, jobs: JobRepository) -> None:
    """On PostgreSQL a claim may come between the pause's look at the chunks and its word on the job."""
    job, worker = planned(database, jobs), desk(database)
    claim = claim_of(worker)
    with database.write() as session:
        row = session.get(Job, job)
        assert row is not None
        row.state = "paused"
    with pytest.raises(LostLease):
        do(database, worker, claim, {})
    worker.postpone(claim, 0.0, "the lease is lost", count_attempt=False)
    jobs.resume(job)
    assert claim_of(worker).attempts == 1


def test_a_claim_that_meets_a_pause_half_way_takes_nothing(database: Database, jobs: JobRepository) -> None:
    job = planned(database, jobs)
    taken: list[ChunkClaim | None] = []
    with database.write() as session:
        job_control.pause(session, job)
        session.flush()
        claiming = threading.Thread(target=lambda: taken.append(desk(database).claim()), daemon=True)
        claiming.start()
        claiming.join(0.5)  # it waits for our row, or for our file
    claiming.join()
    assert taken == [None]
    assert jobs.status(job).state == "paused"


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_what_makes_no_sense_any_more_is_refused_with_what_to_do(
    database: Database, jobs: JobRepository, state: str
) -> None:
    job = ended(database, jobs, {})
    with database.write() as session:
        row = session.get(Job, job)
        assert row is not None
        row.state = state
    for act in (jobs.pause, jobs.resume):
        with pytest.raises(Conflict, match="retry it to repeat its failures"):
            act(job)
    if state == "cancelled":
        assert jobs.cancel(job).state == "cancelled"
    else:
        with pytest.raises(Conflict, match="nothing left to cancel"):
            jobs.cancel(job)


def test_unknown_jobs_and_jobs_that_go_on(database: Database, jobs: JobRepository) -> None:
    for act in (jobs.pause, jobs.resume, jobs.cancel, jobs.archive):
        with pytest.raises(UnknownJob):
            act("nothing")
    with pytest.raises(UnknownJob):
        jobs.retry("nothing", None, 10)
    job = planned(database, jobs)
    with pytest.raises(Conflict, match="has not ended"):
        jobs.retry(job, None, 10)


def test_a_retry_does_what_failed_and_nothing_else(database: Database, jobs: JobRepository) -> None:
    job = ended(database, jobs, {"p2": "missing_image", "p5": "unreachable", "p7": "missing_image"})
    retried = jobs.retry(job, None, 2).id
    assert (jobs.status(retried).retry_of, jobs.status(retried).total) == (job, 3)
    assert jobs.archive(retried) == "upload"
    worker, seen = desk(database), []
    while (claim := worker.claim()) is not None:
        assert (claim.kind, claim.retry_of, claim.source) == ("import", job, {"archive": "upload"})
        seen += [(i.product_id, i.row, i.payload["product"]["n"]) for i in worker.items(claim)]
        do(database, worker, claim, {"p5": "unreachable"})
        worker.finish(claim)
    assert seen == [("p2", 3, 2), ("p5", 6, 5), ("p7", 8, 7)]
    assert (jobs.status(retried).state, jobs.status(retried).counts.failed) == ("succeeded", 1)
    assert jobs.status(jobs.retry(retried, None, 10).id).total == 1


def test_a_retry_by_reason(database: Database, jobs: JobRepository) -> None:
    clean = ended(database, jobs, {})
    with pytest.raises(Conflict, match="rows of its manifest only"):
        jobs.retry(clean, None, 10)
    job = ended(database, jobs, {"p2": "missing_image", "p5": "unreachable", "p7": "missing_image"})
    assert jobs.status(jobs.retry(job, "missing_image", 10).id).total == 2
    with pytest.raises(
        Conflict, match=r"duplicate_product_id, missing_image, missing_product_id, unreachable"
    ):
        jobs.retry(job, "no_such_reason", 10)
    for of_the_manifest in ("duplicate_product_id", "missing_product_id"):
        with pytest.raises(Conflict):
            jobs.retry(job, of_the_manifest, 10)


def test_a_product_without_one_of_its_pictures_can_be_retried(
    database: Database, jobs: JobRepository
) -> None:
    job, worker = planned(database, jobs), desk(database)
    claim = claim_of(worker)
    with database.write() as session:
        items = worker.items(claim)
        lost = Problem(items[2].row, "p3", "http://shop.example/p3.jpg", "unreachable", "it did not deliver")
        worker.record(session, claim, [Outcome(i, "new", problems=[lost] * (i is items[2])) for i in items])
    worker.finish(claim)
    retried = claim_of_retry(database, jobs, job, "unreachable")
    assert [i.product_id for i in worker.items(retried)] == ["p3"]


def claim_of_retry(
    database: Database, jobs: JobRepository, job: str, reason: str | None = None
) -> ChunkClaim:
    retried = jobs.retry(job, reason, 10).id
    claim = claim_of(desk(database))
    assert claim.job_id == retried
    return claim


def test_a_cancelled_job_is_retried_with_what_it_never_got_to(
    database: Database, jobs: JobRepository
) -> None:
    job, worker = planned(database, jobs, finish=True), desk(database)
    claim = claim_of(worker)
    do(database, worker, claim, {"p2": "missing_image"}, count=4)
    jobs.cancel(job)
    retried = claim_of_retry(database, jobs, job)
    assert [i.product_id for i in worker.items(retried)] == ["p2", "p5", "p6", "p7", "p8", "p9", "p10"]
    do(database, worker, retried, {})
    worker.finish(retried)
    last = claim_of(worker)
    assert last.stage == "finish", "what the job does at its end is done by the retry too"
    worker.finish(last, {"seen": True})
    assert jobs.status(last.job_id).report == {"seen": True}


def test_a_job_that_never_listed_its_items_is_retried_as_a_whole(
    database: Database, jobs: JobRepository
) -> None:
    job, worker = jobs.create_import("shop", {"path": "x"}, options={"mode": "sync"}).id, desk(database)
    worker.fail_job(claim_of(worker), "invalid_manifest", "It cannot be read.")
    retried = claim_of_retry(database, jobs, job)
    assert (retried.stage, retried.options, retried.source) == ("plan", {"mode": "sync"}, {"path": "x"})


def test_uploads_are_kept_while_what_failed_may_be_retried(database: Database, jobs: JobRepository) -> None:
    def kept(keep_s: float) -> bool:
        return list(expired_imports(database, ["upload"], keep_s)) == []

    job = planned(database, jobs)
    jobs.pause(job)
    assert kept(0), "a paused job reads on when it is resumed"
    jobs.cancel(job)
    assert kept(3600)
    assert not kept(0)
    with database.write() as session:  # one that went well needs its upload no longer
        row = session.get(Job, job)
        assert row is not None
        row.state, row.failed = "succeeded", 0
    assert not kept(3600)
