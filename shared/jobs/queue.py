"""Queue of job chunks: workers claim them with a lease, process their items, and finish them once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from shared.contracts.states import OPEN_STATES, ChunkState, ItemResult, ItemState, JobState
from shared.database import Database, execute_rowcount
from shared.database.catalogue_rows import display_name
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Chunk, Job, JobItem
from shared.jobs.chunk_reader import ChunkReader
from shared.jobs.close import add_problems, close_job, end_job, fail_rest
from shared.jobs.pace import SAMPLE_S, add_sample
from shared.jobs.states import UNFINISHED
from shared.jobs.turns import IS_RUNNING, chunks_behind, first_chunk, next_job
from shared.jobs.view import count_done
from shared.jobs.work import ChunkClaim, Item, LostLease, Outcome, StageTimes, WorkerStopping

#: Maximum number of chunks of a job in flight, so that a large job leaves room for others.
WINDOW = 4


class JobQueue(ChunkReader):
    """Claims and finishes chunks.

    Args:
        holder: this worker's name; a process that starts with it takes over from a dead one.
        lease_s: validity of a claim without a heartbeat.
        max_attempts: number of claims after which a chunk is given up.
        window: maximum number of chunks of a job in flight.
        stop_requested: returns whether this process is to end.
    """

    def __init__(
        self,
        database: Database,
        holder: str,
        lease_s: float,
        max_attempts: int,
        window: int = WINDOW,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(database, holder, window)
        self.lease_s = lease_s
        self.stop_requested = stop_requested
        #: Time of the last recorded progress, by the monotonic clock.
        self.progress_at = time.monotonic()
        self._sampled: tuple[str, float] = ("", 0.0)
        self._max_attempts = max_attempts

    def claim(self, within: ChunkClaim | None = None) -> ChunkClaim | None:
        """Claim the next chunk in the order of ``shared.jobs.turns``; None if there is none.

        Args:
            within: the bulk chunk that is being processed; claim only work that ``has_urgent_work`` counts.
        """
        quick_before = None if within is None else within.priority
        with self._database.write() as session:
            now = now_s()
            chunk = self._next_chunk(session, now, quick_before)
            if chunk is None:
                return None
            job, catalogue = session.execute(
                select(Job, display_name)
                .join(Catalogue, Catalogue.id == Job.catalogue_id)
                .where(Job.id == chunk.job_id)
            ).one()
            chunk.state = ChunkState.RUNNING
            chunk.attempts += 1
            chunk.fence += 1
            chunk.holder = self._holder
            chunk.lease_until = now + self.lease_s
            # The job's row was not locked with the chunk's: it may have been paused concurrently.
            if not execute_rowcount(
                session,
                update(Job)
                .where(Job.id == job.id, Job.state.in_(OPEN_STATES))
                .values(
                    state=JobState.RUNNING,
                    started_at=func.coalesce(Job.started_at, now),
                    claimed_at=now,
                    waits_for=None,
                ),
            ):
                session.rollback()
                return None
            self.progress_at = time.monotonic()
            return _claim(chunk, job, catalogue)

    def _next_chunk(self, session: Session, now: float, quick_before: int | None) -> Chunk | None:
        taken: list[str] = []
        while (job_id := next_job(session, now, quick_before, taken)) is not None:
            chunk = first_chunk(session, job_id, now, untried=quick_before is not None)
            if chunk is not None:
                return chunk
            # Other workers are claiming all chunks of this job.
            taken.append(job_id)
        return None

    def record_error(self, claim: ChunkClaim, code: str, message: str) -> None:
        """Record the error with which the job, which continues, will end as failed."""
        with self._database.write() as session:
            self.renew_lease(session, claim)
            session.execute(
                update(Job).where(Job.id == claim.job_id).values(error_code=code, error_message=message)
            )

    def renew_lease(self, session: Session, claim: ChunkClaim) -> None:
        """Renew the lease inside the caller's transaction, and record progress.

        Raises:
            LostLease: another worker has the chunk, or the job was paused or cancelled. The caller's
                transaction is rolled back with it, so a late worker changes nothing.
        """
        if not self._renew(session, claim):
            raise LostLease(f"Chunk {claim.id} belongs to another worker now, or its job was stopped.")
        self.progress_at = time.monotonic()

    def renew(self, claim: ChunkClaim) -> bool:
        """Renew the lease in a transaction of its own, without progress; return False if it is lost."""
        with self._database.write() as session:
            return self._renew(session, claim)

    def _renew(self, session: Session, claim: ChunkClaim) -> bool:
        held = {"chunk": claim.id, "held": claim.fence, "job": claim.job_id, "until": now_s() + self.lease_s}
        return bool(session.connection().execute(_RENEW, held).rowcount)

    def report_progress(self) -> None:
        """Record progress; call it between micro-batches and repeatedly in long steps.

        Raises:
            WorkerStopping: this process is to end; what was committed is kept.
        """
        self.progress_at = time.monotonic()
        if self.stop_requested():
            raise WorkerStopping("The worker is stopping.")

    def record(
        self,
        session: Session,
        claim: ChunkClaim,
        outcomes: Sequence[Outcome],
        spent: StageTimes | None = None,
    ) -> None:
        """Write the outcomes of items, in the transaction that writes their products.

        Args:
            spent: seconds by stage, added to the job's.
        """
        self.renew_lease(session, claim)
        by_result: dict[tuple[str, str | None], list[int]] = {}
        for o in outcomes:
            by_result.setdefault((o.result, o.problems[0].reason if o.problems else None), []).append(
                o.item.number
            )
        for (result, reason), numbers in by_result.items():
            session.execute(
                update(JobItem)
                .where(JobItem.job_id == claim.job_id, JobItem.number.in_(numbers))
                .values(
                    state=ItemState.FAILED if result == ItemResult.FAILED else ItemState.DONE,
                    result=result,
                    reason=reason,
                )
                .execution_options(synchronize_session=False)
            )
        problems = [p for o in outcomes for p in o.problems]
        add_problems(session, claim.job_id, problems)
        results = [o.result for o in outcomes]
        more: dict[str, float] = {
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
        """Add a sample for the rate, unless this process has just added one."""
        now = now_s()
        if self._sampled[0] == job_id and 0 <= now - self._sampled[1] < SAMPLE_S:
            return
        self._sampled = (job_id, now)
        job = session.get(Job, job_id, populate_existing=True)
        if job is not None:
            job.pace = add_sample(job.pace, now, count_done(job))

    def count_item_attempt(self, claim: ChunkClaim, item: Item) -> int:
        """Count an attempt of an item before it is tried alone; return its attempts, this one included.

        If the attempt kills the process, the count survives and shows the item that caused it.
        """
        with self._database.write() as session:
            self.renew_lease(session, claim)
            session.execute(
                update(JobItem)
                .where(JobItem.job_id == claim.job_id, JobItem.number == item.number)
                .values(attempts=JobItem.attempts + 1)
            )
        return item.attempts + 1

    def reset_attempts(self, session: Session, claim: ChunkClaim) -> None:
        """Reset the attempts of the chunk: the item that caused the failures has been found."""
        session.execute(update(Chunk).where(Chunk.id == claim.id).values(attempts=1))

    def finish(self, claim: ChunkClaim, report: dict[str, Any] | None = None) -> list[str]:
        """Close the chunk, and the job with its last chunk; return the chunks to publish next.

        Args:
            report: the job's report, stored with it.
        """
        with self._database.write() as session:
            self.renew_lease(session, claim)
            if report is not None:
                session.execute(update(Job).where(Job.id == claim.job_id).values(report=report))
            session.execute(
                update(Chunk)
                .where(Chunk.id == claim.id)
                .values(state=ChunkState.DONE, holder=None, lease_until=0.0)
            )
            close_job(session, claim.job_id)
            return [*self.list_window(session, claim.job_id), *chunks_behind(session, claim.job_id)]

    def postpone(self, claim: ChunkClaim, delay_s: float, error: str, count_attempt: bool) -> None:
        """Put the chunk back, to be retried after ``delay_s``; see ``SearchQueue.postpone``."""
        with self._database.write() as session:
            chunk = session.get(Chunk, claim.id, with_for_update=True)
            if chunk is None or chunk.fence != claim.fence or chunk.state != ChunkState.RUNNING:
                return
            chunk.error = error
            if not count_attempt:
                chunk.attempts -= 1
            self._put_back_one(session, chunk, now_s() + delay_s)

    def give_way(self, claim: ChunkClaim, reason: str) -> None:
        """Put the chunk back for more urgent work: no attempt is counted, and the job shows the reason."""
        self.postpone(claim, 0.0, reason, count_attempt=False)
        with self._database.write() as session:
            session.execute(
                update(Job)
                .where(
                    Job.id == claim.job_id,
                    Job.state.in_(OPEN_STATES),
                    exists().where(Chunk.id == claim.id, Chunk.state == ChunkState.WAITING),
                )
                .values(waits_for=reason)
            )

    def is_last_try(self, claim: ChunkClaim) -> bool:
        """Return whether the chunk is given up if this attempt fails."""
        return claim.attempts >= self._max_attempts

    def fail_job(self, claim: ChunkClaim, code: str, message: str) -> None:
        """End the job with an error that no retry can fix, such as an unreadable manifest."""
        with self._database.write() as session:
            self.renew_lease(session, claim)
            session.execute(
                update(Chunk)
                .where(Chunk.job_id == claim.job_id, Chunk.state.in_(UNFINISHED))
                .values(state=ChunkState.DEAD, fence=Chunk.fence + 1, error=message)
            )
            job = session.get(Job, claim.job_id, populate_existing=True)
            if job is not None:
                job.error_code, job.error_message = code, message
                end_job(session, job, JobState.FAILED)

    def take_over(self) -> int:
        """Put back the chunks that an earlier process of this name held when it died; return their number."""
        return self._put_back(Chunk.holder == self._holder)

    def sweep(self) -> int:
        """Put back chunks whose lease has expired, and close jobs without open chunks; return the former."""
        lost = self._put_back(Chunk.lease_until < now_s())
        with self._database.read() as session:
            # Workers that finish the last two chunks concurrently see each other's: neither closes the job.
            unfinished = exists().where(
                Chunk.job_id == Job.id, Chunk.state.in_((ChunkState.WAITING, ChunkState.RUNNING))
            )
            done = session.scalars(select(Job.id).where(Job.state == JobState.RUNNING, ~unfinished)).all()
        for job_id in done:
            with self._database.write() as session:
                close_job(session, job_id)
        return lost

    def _put_back(self, which: Any) -> int:
        with self._database.write() as session:
            gone = select(Chunk).where(IS_RUNNING, which)
            # A locked row is being updated: its worker is alive.
            lost = list(session.scalars(gone.with_for_update(skip_locked=True)))
            for chunk in lost:
                chunk.error = "the worker ended while working on it"
                self._put_back_one(session, chunk, 0.0)
            return len(lost)

    def _put_back_one(self, session: Session, chunk: Chunk, not_before: float) -> None:
        chunk.fence += 1
        chunk.holder = None
        chunk.lease_until = not_before
        chunk.state = ChunkState.WAITING
        if chunk.attempts >= self._max_attempts:
            chunk.state = ChunkState.DEAD
            fail_rest(session, chunk)
        session.flush()
        close_job(session, chunk.job_id)


_RESULTS = tuple(result.value for result in ItemResult)
_COUNTED = (*_RESULTS, "images", "images_reused", "image_failures", *asdict(StageTimes()))
# Built at import: constructing a statement costs more than executing it, and every micro-batch uses both.
_RENEW = (
    update(Chunk)
    .where(
        Chunk.id == bindparam("chunk"), Chunk.fence == bindparam("held"), Chunk.state == ChunkState.RUNNING
    )
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
