"""The worker's side of the jobs: chunks are taken with a lease, done item by item, and finished once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from shared.database import Database, execute_rowcount
from shared.database.catalogue_rows import display_name
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Chunk, Job, JobItem
from shared.jobs.chunk_reader import ChunkReader
from shared.jobs.close import add_problems, close_job, end_job, fail_rest
from shared.jobs.pace import SAMPLE_S, add_sample
from shared.jobs.states import OPEN_STATES, UNFINISHED
from shared.jobs.turns import chunks_behind, first_chunk, next_job
from shared.jobs.view import count_done
from shared.jobs.work import ChunkClaim, Item, LostLease, Outcome, StageTimes, WorkerStopping


class JobQueue(ChunkReader):
    """Claims and finishes chunks.

    Args:
        holder: this worker's name; a process that starts under it takes over from a dead one.
        lease_s: how long a claim holds without a heartbeat.
        max_attempts: claims after which a chunk is given up.
        window: chunks of a job in flight.
        stop_requested: whether this process is to end.
    """

    def __init__(
        self,
        database: Database,
        holder: str,
        lease_s: float,
        max_attempts: int,
        window: int,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(database, holder, window)
        self.lease_s = lease_s
        self.stop_requested = stop_requested
        #: When something was last recorded, by the monotonic clock.
        self.progress_at = time.monotonic()
        self._sampled: tuple[str, float] = ("", 0.0)
        self._max_attempts = max_attempts

    def claim(self, within: ChunkClaim | None = None) -> ChunkClaim | None:
        """Take the chunk whose turn it is: see ``shared.jobs.turns``.

        Args:
            within: take only what ``has_urgent_work`` speaks of.
        """
        with self._database.write() as session:
            now = now_s()
            chunk = self._next_chunk(session, now, within)
            if chunk is None:
                return None
            job, catalogue = session.execute(
                select(Job, display_name)
                .join(Catalogue, Catalogue.id == Job.catalogue_id)
                .where(Job.id == chunk.job_id)
            ).one()
            chunk.state = "running"
            chunk.attempts += 1
            chunk.fence += 1
            chunk.holder = self._holder
            chunk.lease_until = now + self.lease_s
            # The job's row was not locked with the chunk's: it may have been paused meanwhile.
            if not execute_rowcount(
                session,
                update(Job)
                .where(Job.id == job.id, Job.state.in_(OPEN_STATES))
                .values(
                    state="running",
                    started_at=func.coalesce(Job.started_at, now),
                    claimed_at=now,
                    waits_for=None,
                ),
            ):
                session.rollback()
                return None
            self.progress_at = time.monotonic()
            return _claim(chunk, job, catalogue)

    def _next_chunk(self, session: Session, now: float, within: ChunkClaim | None) -> Chunk | None:
        quick_before = None if within is None else within.priority
        taken: list[str] = []
        while (job_id := next_job(session, now, quick_before, taken)) is not None:
            chunk = first_chunk(session, job_id, now, untried=within is not None)
            if chunk is not None:
                return chunk
            # Another worker is taking all that this job has.
            taken.append(job_id)
        return None

    def record_error(self, claim: ChunkClaim, code: str, message: str) -> None:
        """Note why the job, which goes on to its end, is to end as failed. What it did stays."""
        with self._database.write() as session:
            self.renew_lease(session, claim)
            session.execute(
                update(Job).where(Job.id == claim.job_id).values(error_code=code, error_message=message)
            )

    def renew_lease(self, session: Session, claim: ChunkClaim) -> None:
        """Renew the lease inside the caller's transaction, and count it as progress.

        Raises:
            LostLease: the chunk went to another worker, or the job was paused or cancelled. The caller's
                transaction is rolled back with it, so a late worker changes nothing.
        """
        if not self._renew(session, claim):
            raise LostLease(f"Chunk {claim.id} belongs to somebody else now, or its job was stopped.")
        self.progress_at = time.monotonic()

    def renew(self, claim: ChunkClaim) -> bool:
        """Renew the lease and nothing else; False when it is lost."""
        with self._database.write() as session:
            return self._renew(session, claim)

    def _renew(self, session: Session, claim: ChunkClaim) -> bool:
        held = {"chunk": claim.id, "held": claim.fence, "job": claim.job_id, "until": now_s() + self.lease_s}
        return bool(session.connection().execute(_RENEW, held).rowcount)

    def report_progress(self) -> None:
        """Say that work goes on; call it between micro-batches, and now and then in long steps.

        Raises:
            WorkerStopping: this process was told to end; what was recorded stays.
        """
        self.progress_at = time.monotonic()
        if self.stop_requested():
            raise WorkerStopping("The worker was told to stop.")

    def record(
        self,
        session: Session,
        claim: ChunkClaim,
        outcomes: Sequence[Outcome],
        spent: StageTimes | None = None,
    ) -> None:
        """Write what became of items, in the transaction that writes their products.

        Args:
            spent: the seconds it took, added to the job's.
        """
        self.renew_lease(session, claim)
        alike: dict[tuple[str, str | None], list[int]] = {}
        for o in outcomes:
            alike.setdefault((o.result, o.problems[0].reason if o.problems else None), []).append(
                o.item.number
            )
        for (result, reason), numbers in alike.items():
            session.execute(
                update(JobItem)
                .where(JobItem.job_id == claim.job_id, JobItem.number.in_(numbers))
                .values(state="failed" if result == "failed" else "done", result=result, reason=reason)
                .execution_options(synchronize_session=False)
            )
        problems = [p for o in outcomes for p in o.problems]
        add_problems(session, claim.job_id, problems)
        results = [o.result for o in outcomes]
        more = {
            **{k: results.count(k) for k in _RESULTS},
            "images": sum(o.images for o in outcomes),
            "images_reused": sum(o.reused for o in outcomes),
            "image_failures": sum(p.image is not None for p in problems),
            **asdict(spent or StageTimes()),
        }
        added = {f"more_{k}": v for k, v in more.items()}
        session.connection().execute(_ADD, {"job": claim.job_id, **added})
        self._note_pace(session, claim.job_id)

    def _note_pace(self, session: Session, job_id: str) -> None:
        """Add to the samples from which the rate is told, unless this process just did."""
        now = now_s()
        if self._sampled[0] == job_id and 0 <= now - self._sampled[1] < SAMPLE_S:
            return
        self._sampled = (job_id, now)
        job = session.get(Job, job_id, populate_existing=True)
        if job is not None:
            job.pace = add_sample(job.pace, now, count_done(job))

    def count_item_attempt(self, claim: ChunkClaim, item: Item) -> int:
        """Note, before a dangerous try, which item is tried; returns its tries, this one included."""
        with self._database.write() as session:
            self.renew_lease(session, claim)
            session.execute(
                update(JobItem)
                .where(JobItem.job_id == claim.job_id, JobItem.number == item.number)
                .values(attempts=JobItem.attempts + 1)
            )
        return item.attempts + 1

    def reset_attempts(self, session: Session, claim: ChunkClaim) -> None:
        """Start the chunk's count of tries again: the item that was to blame has been found."""
        session.execute(update(Chunk).where(Chunk.id == claim.id).values(attempts=1))

    def finish(self, claim: ChunkClaim, report: dict[str, Any] | None = None) -> list[str]:
        """Close the chunk; return the chunks to publish next. The last one closes the job.

        Args:
            report: what the job found, kept with it.
        """
        with self._database.write() as session:
            self.renew_lease(session, claim)
            if report is not None:
                session.execute(update(Job).where(Job.id == claim.job_id).values(report=report))
            session.execute(
                update(Chunk).where(Chunk.id == claim.id).values(state="done", holder=None, lease_until=0.0)
            )
            close_job(session, claim.job_id)
            return [*self.list_window(session, claim.job_id), *chunks_behind(session, claim.job_id)]

    def postpone(self, claim: ChunkClaim, delay_s: float, error: str, count_attempt: bool) -> None:
        """Give the chunk back, to be tried after ``delay_s``; see ``SearchQueue.postpone``."""
        with self._database.write() as session:
            chunk = session.get(Chunk, claim.id, with_for_update=True)
            if chunk is None or chunk.fence != claim.fence or chunk.state != "running":
                return
            chunk.error = error
            if not count_attempt:
                chunk.attempts -= 1
            self._put_back_one(session, chunk, now_s() + delay_s)

    def give_way(self, claim: ChunkClaim, reason: str) -> None:
        """Give the chunk back for something more urgent; no try is counted, and the job says why it waits."""
        self.postpone(claim, 0.0, reason, count_attempt=False)
        with self._database.write() as session:
            session.execute(
                update(Job)
                .where(
                    Job.id == claim.job_id,
                    Job.state.in_(OPEN_STATES),
                    exists().where(Chunk.id == claim.id, Chunk.state == "waiting"),
                )
                .values(waits_for=reason)
            )

    def is_last_try(self, claim: ChunkClaim) -> bool:
        """Whether the chunk is given up if this try fails."""
        return claim.attempts >= self._max_attempts

    def fail_job(self, claim: ChunkClaim, code: str, message: str) -> None:
        """End the job with an error that no retry can mend, such as a manifest nobody can read."""
        with self._database.write() as session:
            self.renew_lease(session, claim)
            session.execute(
                update(Chunk)
                .where(Chunk.job_id == claim.job_id, Chunk.state.in_(UNFINISHED))
                .values(state="dead", fence=Chunk.fence + 1, error=message)
            )
            job = session.get(Job, claim.job_id, populate_existing=True)
            if job is not None:
                job.error_code, job.error_message = code, message
                end_job(session, job, "failed")

    def take_over(self) -> int:
        """Put back what an earlier process of this name held when it died."""
        return self._put_back(Chunk.holder == self._holder)

    def sweep(self) -> int:
        """Put back chunks whose lease ran out, and close jobs that have none open."""
        lost = self._put_back(Chunk.lease_until < now_s())
        with self._database.read() as session:
            # Two workers that finish a job's last chunks at once each see the other's: neither closes it.
            unfinished = exists().where(Chunk.job_id == Job.id, Chunk.state.in_(("waiting", "running")))
            done = session.scalars(select(Job.id).where(Job.state == "running", ~unfinished)).all()
        for job_id in done:
            with self._database.write() as session:
                close_job(session, job_id)
        return lost

    def _put_back(self, which: Any) -> int:
        with self._database.write() as session:
            gone = select(Chunk).where(Chunk.state == "running", which)
            # One whose row is locked is being recorded: somebody is alive.
            lost = list(session.scalars(gone.with_for_update(skip_locked=True)))
            for chunk in lost:
                chunk.error = "the worker ended while working on it"
                self._put_back_one(session, chunk, 0.0)
            return len(lost)

    def _put_back_one(self, session: Session, chunk: Chunk, not_before: float) -> None:
        chunk.fence += 1
        chunk.holder = None
        chunk.lease_until = not_before
        chunk.state = "waiting"
        if chunk.attempts >= self._max_attempts:
            chunk.state = "dead"
            fail_rest(session, chunk)
        session.flush()
        close_job(session, chunk.job_id)


_RESULTS = ("new", "changed", "unchanged", "deleted", "failed")
_COUNTED = (*_RESULTS, "images", "images_reused", "image_failures", *asdict(StageTimes()))
# Made once: both are asked for every micro-batch, and to make one costs more than to carry it out.
_RENEW = (
    update(Chunk)
    .where(Chunk.id == bindparam("chunk"), Chunk.fence == bindparam("held"), Chunk.state == "running")
    .where(exists().where(Job.id == bindparam("job"), Job.state.in_(OPEN_STATES)))
    .values(lease_until=bindparam("until"))
)
_ADD = (
    update(Job)
    .where(Job.id == bindparam("job"))
    .values({k: getattr(Job, k) + bindparam(f"more_{k}") for k in _COUNTED})
)


def _claim(chunk: Chunk, job: Job, catalogue: str) -> ChunkClaim:
    return ChunkClaim(
        id=chunk.id,
        job_id=chunk.job_id,
        number=chunk.number,
        stage=chunk.stage,
        first=chunk.first,
        last=chunk.last,
        priority=chunk.priority,
        fence=chunk.fence,
        attempts=chunk.attempts,
        kind=job.kind,
        catalogue_id=job.catalogue_id,
        catalogue=catalogue,
        source=job.source,
        options=job.options,
        index_version=job.index_version,
        accepted_at=job.accepted_at or job.created_at,
        retry_of=job.retry_of,
    )
