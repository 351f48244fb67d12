"""What waits, and who is at what: the looks at the chunks that change nothing."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Chunk, Job, JobItem
from shared.jobs.states import BACKGROUND, IS_UNDERSTOOD, OPEN_STATES
from shared.jobs.turns import IS_UNTRIED, QUICK_KINDS, next_job, reason_to_wait
from shared.jobs.work import ChunkClaim, Item


class ChunkReader:
    """The chunks as one worker sees them; ``JobQueue`` takes and finishes them."""

    def __init__(self, database: Database, holder: str, window: int) -> None:
        self._database = database
        self._holder = holder
        self._window = window

    def items(self, claim: ChunkClaim) -> list[Item]:
        """Return the chunk's items that are still to be done."""
        with self._database.read() as session:
            # Not as objects of the table: a chunk may have some thousand.
            rows = session.connection().execute(
                select(JobItem.number, JobItem.row, JobItem.product_id, JobItem.payload, JobItem.attempts)
                .where(
                    JobItem.job_id == claim.job_id,
                    JobItem.number.between(claim.first, claim.last),
                    JobItem.state == "waiting",
                )
                .order_by(JobItem.number)
            )
            return [Item(r.number, r.row, r.product_id, r.payload, r.attempts) for r in rows]

    def has_urgent_work(self, claim: ChunkClaim) -> bool:
        """Whether products put or deleted by hand wait while this worker is at a bulk chunk.

        One that was tried before does not count: if it kills the process, it takes no bulk chunk with it.
        """
        with self._database.read() as session:
            asked = {"now": now_s(), "priority": claim.priority}
            found = session.connection().scalar(_URGENT_WAITS, asked)
        return found is not None

    def preemption_reason(self, claim: ChunkClaim) -> str | None:
        """Return what a job that the system began gives way to now, in words; None for other jobs."""
        if claim.priority < BACKGROUND:
            return None
        with self._database.read() as session:
            return reason_to_wait(session, now_s(), claim.priority)

    def read_concurrent_chunks(self, catalogue_id: int) -> dict[str, tuple[int, int]]:
        """Chunks whose items other workers are at, in one catalogue: fence, and how many items wait.

        Both change as soon as a micro-batch that is on its way is committed, or given up.
        """
        waiting = (
            select(func.count())
            .where(
                JobItem.job_id == Chunk.job_id,
                JobItem.number.between(Chunk.first, Chunk.last),
                JobItem.state == "waiting",
            )
            .scalar_subquery()
        )
        at_work = (Chunk.state == "running", Chunk.stage == "items", Chunk.holder != self._holder)
        with self._database.read() as session:
            rows = session.execute(
                select(Chunk.id, Chunk.fence, waiting)
                .join(Job, Job.id == Chunk.job_id)
                .where(Job.catalogue_id == catalogue_id, *at_work)
            )
            return {chunk_id: (fence, left) for chunk_id, fence, left in rows}

    def list_overdue(self, limit: int) -> list[str]:
        """List chunks to publish again: those in the windows of the ``limit`` jobs whose turn it is."""
        jobs: list[str] = []
        with self._database.read() as session:
            now = now_s()
            while len(jobs) < limit and (job_id := next_job(session, now, without=jobs)) is not None:
                jobs.append(job_id)
            return [chunk for job in jobs for chunk in self.list_window(session, job)]

    def list_window(self, session: Session, job_id: str) -> list[str]:
        """List chunks of a job that may be published now: as many as fill its window."""
        running = session.scalar(select(func.count()).where(Chunk.job_id == job_id, Chunk.state == "running"))
        return list(
            session.scalars(
                select(Chunk.id)
                .where(Chunk.job_id == job_id, Chunk.state == "waiting", Chunk.lease_until <= now_s())
                .order_by(Chunk.number)
                .limit(max(self._window - (running or 0), 0))
            )
        )


# Made once: it is asked several times a micro-batch, and to make it costs more than to ask it.
_URGENT_WAITS = (
    select(Chunk.id)
    .join(Job, Job.id == Chunk.job_id)
    .where(Chunk.state == "waiting", Chunk.lease_until <= bindparam("now"), Job.state.in_(OPEN_STATES))
    .where(Chunk.priority < bindparam("priority"), Job.kind.in_(QUICK_KINDS), IS_UNTRIED, *IS_UNDERSTOOD)
    .limit(1)
)
