"""Jobs are paused, resumed, cancelled and retried; leases are kept while work goes on (M11, M12)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from shared.catalogue import CatalogueStore
from shared.database import Database
from shared.database.tables import Chunk, Job
from shared.errors import Conflict, DatabaseUnavailable, UnknownJob
from shared.ledger import job_control, job_desk, job_view
from shared.ledger.housekeeping import expired_imports
from shared.ledger.job_desk import JobDesk
from shared.ledger.job_plan import write_plan
from shared.ledger.jobs import JobLedger
from shared.ledger.work import ChunkClaim, Item, LostLease, Outcome, Problem, Stopping
from tests.servers import wait_for
from worker.lease_keeper import LeaseKeeper

LEASE_S = 60.0


@pytest.fixture
def jobs(database: Database) -> JobLedger:
    CatalogueStore(database).create("shop")
    return JobLedger(database)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass for the ledger."""
    passed = [0.0]
    real = job_desk.now_s
    for module in (job_desk, job_view):
        monkeypatch.setattr(module, "now_s", lambda: real() + passed[0])

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    return go_on


def desk(database: Database, holder: str = "one", told: Callable[[], bool] = lambda: False) -> JobDesk:
    return JobDesk(database, holder, LEASE_S, 4, 2, told)


def claim_of(worker: JobDesk) -> ChunkClaim:
    claim = worker.claim()
    assert claim is not None
    return claim


def planned(
    database: Database, jobs: JobLedger, count: int = 10, *, chunk_items: int = 10, finish: bool = False
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
    database: Database, worker: JobDesk, claim: ChunkClaim, fails: dict[str, str], count: int | None = None
) -> None:
    """Record a chunk's items, those named in ``fails`` with that reason."""
    with database.write() as session:
        outcomes = []
        for item in worker.items(claim)[:count]:
            reason = fails.get(item.product_id)
            problems = [Problem(item.row, item.product_id, None, reason, "it is wrong")] if reason else []
            outcomes.append(Outcome(item, "failed" if reason else "new", problems=problems))
        worker.record(session, claim, outcomes)


def ended(database: Database, jobs: JobLedger, fails: dict[str, str]) -> str:
    job = planned(database, jobs)
    worker = desk(database)
    claim = claim_of(worker)
    do(database, worker, claim, fails)
    worker.finish(claim)
    assert jobs.status(job).state == "succeeded"
    return job


def test_a_paused_job_gives_its_chunk_back_and_goes_on_when_resumed(
    database: Database, jobs: JobLedger
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
    assert worker.overdue(10) == []
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


def test_a_job_that_was_paused_before_it_began_waits_again(database: Database, jobs: JobLedger) -> None:
    job = jobs.create_import("shop", {}).id
    jobs.pause(job)
    assert desk(database).claim() is None
    assert jobs.resume(job).state == "queued"
    assert claim_of(desk(database)).job_id == job


def test_a_chunk_taken_in_the_moment_of_the_pause_is_told_no(database: Database, jobs: JobLedger) -> None:
    """On PostgreSQL a claim may come between the pause's look at the chunks and its word on the job."""
    job, worker = planned(database, jobs), desk(database)
    claim = claim_of(worker)
    with database.write() as session:
        row = session.get(Job, job)
        assert row is not None
        row.state = "paused"
    with pytest.raises(LostLease):
        do(database, worker, claim, {})
    worker.postpone(claim, 0.0, "told no", blame=False)
    jobs.resume(job)
    assert claim_of(worker).attempts == 1


def test_a_claim_that_meets_a_pause_half_way_takes_nothing(database: Database, jobs: JobLedger) -> None:
    job = planned(database, jobs)
    taken: list[ChunkClaim | None] = []
    with database.write() as session:
        job_control.pause(session, job)
        session.flush()
        claiming = threading.Thread(target=lambda: taken.append(desk(database).claim()))
        claiming.start()
        claiming.join(0.5)  # it waits for our row, or for our file
    claiming.join()
    assert taken == [None]
    assert jobs.status(job).state == "paused"


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_what_makes_no_sense_any_more_is_refused_with_what_to_do(
    database: Database, jobs: JobLedger, state: str
) -> None:
    job = ended(database, jobs, {})
    with database.write() as session:
        row = session.get(Job, job)
        assert row is not None
        row.state = state
    for act in (jobs.pause, jobs.resume):
        with pytest.raises(Conflict, match="retry does what failed again"):
            act(job)
    if state == "cancelled":
        assert jobs.cancel(job).state == "cancelled"
    else:
        with pytest.raises(Conflict, match="nothing left to cancel"):
            jobs.cancel(job)


def test_unknown_jobs_and_jobs_that_go_on(database: Database, jobs: JobLedger) -> None:
    for act in (jobs.pause, jobs.resume, jobs.cancel, jobs.archive):
        with pytest.raises(UnknownJob):
            act("nothing")
    with pytest.raises(UnknownJob):
        jobs.retry("nothing", None, 10)
    job = planned(database, jobs)
    with pytest.raises(Conflict, match="has not ended"):
        jobs.retry(job, None, 10)


def test_a_retry_does_what_failed_and_nothing_else(database: Database, jobs: JobLedger) -> None:
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


def test_a_retry_by_reason(database: Database, jobs: JobLedger) -> None:
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


def test_a_product_without_one_of_its_pictures_can_be_retried(database: Database, jobs: JobLedger) -> None:
    job, worker = planned(database, jobs), desk(database)
    claim = claim_of(worker)
    with database.write() as session:
        items = worker.items(claim)
        lost = Problem(items[2].row, "p3", "http://shop.example/p3.jpg", "unreachable", "it did not deliver")
        worker.record(session, claim, [Outcome(i, "new", problems=[lost] * (i is items[2])) for i in items])
    worker.finish(claim)
    retried = claim_of_retry(database, jobs, job, "unreachable")
    assert [i.product_id for i in worker.items(retried)] == ["p3"]


def claim_of_retry(database: Database, jobs: JobLedger, job: str, reason: str | None = None) -> ChunkClaim:
    retried = jobs.retry(job, reason, 10).id
    claim = claim_of(desk(database))
    assert claim.job_id == retried
    return claim


def test_a_cancelled_job_is_retried_with_what_it_never_got_to(database: Database, jobs: JobLedger) -> None:
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


def test_a_job_that_never_listed_its_items_is_retried_as_a_whole(database: Database, jobs: JobLedger) -> None:
    job, worker = jobs.create_import("shop", {"path": "x"}, options={"mode": "sync"}).id, desk(database)
    worker.fail_job(claim_of(worker), "invalid_manifest", "It cannot be read.")
    retried = claim_of_retry(database, jobs, job)
    assert (retried.stage, retried.options, retried.source) == ("plan", {"mode": "sync"}, {"path": "x"})


def test_uploads_are_kept_while_what_failed_may_be_retried(database: Database, jobs: JobLedger) -> None:
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


def test_a_worker_told_to_stop_hears_it_between_micro_batches(database: Database, jobs: JobLedger) -> None:
    planned(database, jobs)
    told = threading.Event()
    worker = desk(database, told=told.is_set)
    claim = claim_of(worker)
    told.set()
    do(database, worker, claim, {}, count=4)  # what is done is recorded
    with pytest.raises(Stopping):
        worker.go_on()
    worker.postpone(claim, 0.0, "told to stop", blame=False)
    after = claim_of(desk(database, "other"))
    assert (after.attempts, len(worker.items(after))) == (1, 6)


def lease_of(database: Database, claim: ChunkClaim) -> float:
    with database.read() as session:
        row = session.get(Chunk, claim.id)
        assert row is not None
        return row.lease_until


def test_a_slow_worker_that_lives_keeps_its_chunk(
    database: Database, jobs: JobLedger, clock: Callable[[float], None]
) -> None:
    """M11: a second worker looks long after the lease would have run out."""
    job = planned(database, jobs)
    slow, second = desk(database, "slow"), desk(database, "second")
    claim = claim_of(slow)
    with LeaseKeeper(slow, claim, hang_s=600.0, every_s=0.05):
        for _ in range(3):
            before = lease_of(database, claim)
            clock(LEASE_S * 0.9)
            wait_for("the lease is renewed", lambda b=before: lease_of(database, claim) > b + LEASE_S / 2)
            assert second.sweep() == 0
            assert second.claim() is None
        do(database, slow, claim, {})
        slow.finish(claim)
    assert (jobs.status(job).state, jobs.status(job).counts.new) == ("succeeded", 10)


def test_control_without_the_keeper_the_second_worker_has_it_and_the_first_is_refused(
    database: Database, jobs: JobLedger, clock: Callable[[float], None]
) -> None:
    """M12 as well: the late finisher is told no, and the newer result stays."""
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
    database: Database, jobs: JobLedger, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setattr(JobDesk, "_renew", lambda *_: True)
    with database.write() as session:
        slow.record(session, late, [Outcome(item, "failed") for item in stale])
    assert jobs.status(job).counts.failed == 12


def test_a_worker_that_hangs_loses_its_chunk_and_is_ended(database: Database, jobs: JobLedger) -> None:
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
    database: Database, jobs: JobLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(database, jobs)
    worker = desk(database)
    claim = claim_of(worker)
    real, failures = JobDesk.renew, [2]

    def renew_after_a_while(self: JobDesk, c: ChunkClaim) -> bool:
        if failures[0]:
            failures[0] -= 1
            raise DatabaseUnavailable("away")
        renewed.set()
        return real(self, c)

    renewed = threading.Event()
    monkeypatch.setattr(JobDesk, "renew", renew_after_a_while)
    with LeaseKeeper(worker, claim, hang_s=600.0, every_s=0.05):
        wait_for("it renews again", renewed.is_set)


def test_a_rate_is_that_of_the_present_and_a_pause_does_not_count(
    database: Database, jobs: JobLedger, clock: Callable[[float], None]
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
