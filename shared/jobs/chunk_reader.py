"""Read the state of chunks without changing them."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from shared.contracts.states import OPEN_STATES, ChunkStage, ChunkState, ItemState
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Chunk, Job, JobItem
from shared.jobs.states import BACKGROUND, IS_UNDERSTOOD
from shared.jobs.turns import IS_UNTRIED, QUICK_KINDS, next_job, reason_to_wait
from shared.jobs.work import ChunkClaim, Item


class ChunkReader:
    """Reads chunks for one worker; ``JobQueue`` claims and finishes them."""

    def __init__(self, database: Database, holder: str, window: int) -> None:
        self._database = database
        self._holder = holder
        self._window = window

    def product_ids(self, claim: ChunkClaim) -> list[str]:
        """Return the ids of all products of the chunk, finished ones included."""
        query = select(JobItem.product_id).where(
            JobItem.job_id == claim.job_id, JobItem.number.between(claim.first, claim.last)
        )
        with self._database.read() as session:
            return list(session.scalars(query.distinct()))

    def items(self, claim: ChunkClaim) -> list[Item]:
        """Return the unfinished items of the chunk."""
        with self._database.read() as session:
            # Plain rows instead of ORM objects: a chunk may have a thousand items.
            rows = session.connection().execute(
                select(JobItem.number, JobItem.row, JobItem.product_id, JobItem.payload, JobItem.attempts)
                .where(
                    JobItem.job_id == claim.job_id,
                    JobItem.number.between(claim.first, claim.last),
                    JobItem.state == ItemState.WAITING,
                )
                .order_by(JobItem.number)
            )
            return [Item(r.number, r.row, r.product_id, r.payload, r.attempts) for r in rows]

    def has_urgent_work(self, claim: ChunkClaim) -> bool:
        """Return whether single updates wait while this worker processes a bulk chunk.

        Updates that were tried before do not count, so that one that kills the process cannot take a bulk
        chunk with it.
        """
        with self._database.read() as session:
            values = {"now": now_s(), "priority": claim.priority}
            found = session.connection().scalar(_URGENT_CHUNK, values)
        return found is not None

    def preemption_reason(self, claim: ChunkClaim) -> str | None:
        """Return why a background job has to yield now, as a sentence; None if it need not."""
        if claim.priority < BACKGROUND:
            return None
        with self._database.read() as session:
            return reason_to_wait(session, now_s(), claim.priority)

    def read_concurrent_chunks(self, catalogue_id: int) -> dict[str, tuple[int, int]]:
        """Return fence and number of waiting items of the chunks of a catalogue that other workers process.

        One of the two changes as soon as a micro-batch in flight is committed or given up.
        """
        waiting = (
            select(func.count())
            .where(
                JobItem.job_id == Chunk.job_id,
                JobItem.number.between(Chunk.first, Chunk.last),
                JobItem.state == ItemState.WAITING,
            )
            .scalar_subquery()
        )
        is_processed = (
            Chunk.state == ChunkState.RUNNING,
            Chunk.stage == ChunkStage.ITEMS,
            Chunk.holder != self._holder,
        )
        with self._database.read() as session:
            rows = session.execute(
                select(Chunk.id, Chunk.fence, waiting)
                .join(Job, Job.id == Chunk.job_id)
                .where(Job.catalogue_id == catalogue_id, *is_processed)
            )
            return {chunk_id: (fence, left) for chunk_id, fence, left in rows}

    def list_overdue(self, limit: int) -> list[str]:
        """List the chunks to publish again: those in the windows of the next ``limit`` jobs."""
        jobs: list[str] = []
        with self._database.read() as session:
            now = now_s()
            while len(jobs) < limit and (job_id := next_job(session, now, without=jobs)) is not None:
                jobs.append(job_id)
            return [chunk for job in jobs for chunk in self.list_window(session, job)]

    def list_window(self, session: Session, job_id: str) -> list[str]:
        """List the chunks of a job that may be published now: as many as fill its window."""
        running = session.scalar(
            select(func.count()).where(Chunk.job_id == job_id, Chunk.state == ChunkState.RUNNING)
        )
        return list(
            session.scalars(
                select(Chunk.id)
                .where(
                    Chunk.job_id == job_id, Chunk.state == ChunkState.WAITING, Chunk.lease_until <= now_s()
                )
                .order_by(Chunk.number)
                .limit(max(self._window - (running or 0), 0))
            )
        )


# Built at import: constructing it costs more than executing it, which happens several times a micro-batch.
_URGENT_CHUNK = (
    select(Chunk.id)
    .join(Job, Job.id == Chunk.job_id)
    .where(
        Chunk.state == ChunkState.WAITING, Chunk.lease_until <= bindparam("now"), Job.state.in_(OPEN_STATES)
    )
    .where(Chunk.priority < bindparam("priority"), Job.kind.in_(QUICK_KINDS), IS_UNTRIED, *IS_UNDERSTOOD)
    .limit(1)
)
