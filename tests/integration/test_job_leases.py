"""A chunk's lease is kept while work goes on, and lost when it hangs (M11, M12)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from shared.database import Database
from shared.database.tables import Chunk, Job
from shared.errors import DatabaseUnavailable
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.jobs.work import ChunkClaim, LostLease, Outcome, WorkerStopping
from tests.job_builders import LEASE_S, claim_of, clock, desk, do, jobs, planned
from tests.servers import wait_for
from worker.jobs.lease_keeper import LeaseKeeper

__all__ = ["clock", "jobs"]


def test_a_worker_told_to_stop_hears_it_between_micro_batches(
    database: Database, jobs: JobRepository
) -> None:
    planned(database, jobs)
    requested = threading.Event()
    worker = desk(database, stop_requested=requested.is_set)
    claim = claim_of(worker)
    requested.set()
    do(database, worker, claim, {}, count=4)  # what is done is recorded
    with pytest.raises(WorkerStopping):
        worker.report_progress()
    worker.postpone(claim, 0.0, "stop requested", count_attempt=False)
    after = claim_of(desk(database, "other"))
    assert (after.attempts, len(worker.items(after))) == (1, 6)


def lease_of(database: Database, claim: ChunkClaim) -> float:
    with database.read() as session:
        row = session.get(Chunk, claim.id)
        assert row is not None
        return row.lease_until


def test_a_slow_worker_that_lives_keeps_its_chunk(
    database: Database, jobs: JobRepository, clock: Callable[[float], None]
) -> None:
    """M11: a second worker looks long after the lease would have run out."""
    job = planned(database, jobs)
    slow, second = desk(database, "slow"), desk(database, "second")
    claim = claim_of(slow)
    with LeaseKeeper(slow, claim, hang_s=600.0, interval_s=0.05):
        for _ in range(3):
            renewed = lease_of(database, claim) + LEASE_S / 2
            clock(LEASE_S * 0.9)
            # the lambda is called before the next turn
            wait_for("the lease is renewed", lambda: lease_of(database, claim) > renewed)  # noqa: B023
            assert second.sweep() == 0
            assert second.claim() is None
        do(database, slow, claim, {})
        slow.finish(claim)
    assert (jobs.status(job).state, jobs.status(job).counts.new) == ("succeeded", 10)


def test_control_without_the_keeper_the_second_worker_has_it_and_the_first_is_refused(
    database: Database, jobs: JobRepository, clock: Callable[[float], None]
) -> None:
    """M12 as well: the late finisher is requested no, and the newer result stays."""
    job = planned(database, jobs)
    slow, second = desk(database, "slow"), desk(database, "second")
    late = claim_of(slow)
    clock(LEASE_S * 2)
    assert second.sweep() == 1
    newer = claim_of(second)
    assert newer.id == late.id
    do(database, second, newer, {})
    second.finish(newer)
    with pytest.raises(LostLease):
        do(database, slow, late, {f"p{n}": "stale" for n in range(1, 11)})
    with pytest.raises(LostLease):
        slow.finish(late)
    status = jobs.status(job)
    assert (status.state, status.counts.new, status.counts.failed) == ("succeeded", 10, 2)


def test_control_without_the_fence_the_late_finisher_overwrites_the_newer_result(
    database: Database, jobs: JobRepository, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned(database, jobs)
    slow, second = desk(database, "slow"), desk(database, "second")
    late = claim_of(slow)
    stale = slow.items(late)
    clock(LEASE_S * 2)
    second.sweep()
    newer = claim_of(second)
    do(database, second, newer, {})
    second.finish(newer)
    monkeypatch.setattr(JobQueue, "_renew", lambda *_: True)
    with database.write() as session:
        slow.record(session, late, [Outcome(item, "failed") for item in stale])
    assert jobs.status(job).counts.failed == 12


def test_a_worker_that_hangs_loses_its_chunk_and_is_ended(database: Database, jobs: JobRepository) -> None:
    planned(database, jobs)
    worker = desk(database)
    claim = claim_of(worker)
    hangs = threading.Event()
    with LeaseKeeper(worker, claim, 0.2, hangs.set):
        wait_for("it is noticed", hangs.is_set)
        wait_for("the thread has ended", lambda: not lease_threads())


def lease_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "lease"]


def test_a_keeper_lives_through_an_absence_of_the_database(
    database: Database, jobs: JobRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(database, jobs)
    worker = desk(database)
    claim = claim_of(worker)
    real, failures = JobQueue.renew, [2]

    def renew_after_a_while(self: JobQueue, c: ChunkClaim) -> bool:
        if failures[0]:
            failures[0] -= 1
            raise DatabaseUnavailable("away")
        renewed.set()
        return real(self, c)

    renewed = threading.Event()
    monkeypatch.setattr(JobQueue, "renew", renew_after_a_while)
    with LeaseKeeper(worker, claim, hang_s=600.0, interval_s=0.05):
        wait_for("it renews again", renewed.is_set)


def test_a_rate_is_that_of_the_present_and_a_pause_does_not_count(
    database: Database, jobs: JobRepository, clock: Callable[[float], None]
) -> None:
    job, worker = planned(database, jobs, 40, chunk_items=40), desk(database)
    claim = claim_of(worker)
    for _ in range(4):  # two a second at first
        clock(5.0)
        do(database, worker, claim, {}, count=10)
    status = jobs.status(job)
    assert status.rate_per_s == pytest.approx(2.0, rel=0.15)
    assert status.eta_s == 0
    assert status.eta_low_s is not None
    paused = planned(database, jobs, 100, chunk_items=100)
    jobs.cancel(job)
    claim = claim_of(worker)
    clock(10.0)
    do(database, worker, claim, {}, count=10)
    jobs.pause(paused)
    shown = jobs.status(paused)
    assert (shown.eta_s, shown.rate_per_s is not None) == (None, True)
    jobs.resume(paused)
    with database.read() as session:
        row = session.get(Job, paused)
        assert row is not None
        assert (row.pace, row.paused_at) == (None, None)
