"""Delete the items, chunks and failures of ended jobs; the job with its counts and report stays.

An item takes about 500 bytes, so that nightly imports of a catalogue would soon outweigh it. When a job has
succeeded, its done items serve nothing any more: only failed ones can be retried. All other rows of an ended
job are kept for ``jobs.keep_rows_s``.

Transactions are short, so that jobs and searches go on between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import delete, exists, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from shared.contracts.states import ChunkStage, ItemState, JobState
from shared.database import Database, execute_rowcount
from shared.database.clock import now_s
from shared.database.tables import Base, Chunk, Job, JobFailure, JobItem

#: Maximum number of rows that are deleted in a transaction.
_BATCH_ROWS = 1000
#: Number of chunks or jobs that are read at a time.
_PAGE_ROWS = 100
#: Jobs that have ended and still have rows: those of the partial index `ix_jobs_with_rows`.
_HAS_ROWS = (Job.finished_at.is_not(None), Job.rows_deleted_at.is_(None))


class JobRowSweeper:
    """Deletes the rows of ended jobs.

    Args:
        keep_s: how long failures, and what a retry needs, are kept after the end of a job.
    """

    def __init__(self, database: Database, keep_s: float) -> None:
        self._database = database
        self._keep_s = keep_s

    def sweep(self, max_rows: int) -> int:
        """Delete rows until none is due, or ``max_rows`` and at most a batch more; return their number."""
        deleted = 0
        for batches in (self._delete_done_items(), self._delete_expired()):
            for count in batches:
                deleted += count
                if deleted >= max_rows:
                    return deleted
        return deleted

    def _delete_done_items(self) -> Iterator[int]:
        """Delete done items of succeeded jobs, chunk by chunk; yield the number of rows of each batch."""
        due = (
            select(Chunk.id, Chunk.job_id, Chunk.first, Chunk.last)
            .join(Job, Job.id == Chunk.job_id)
            .where(*_HAS_ROWS, Job.state == JobState.SUCCEEDED, Chunk.stage == ChunkStage.ITEMS)
            .limit(_PAGE_ROWS)
        )
        while True:
            with self._database.read() as session:
                chunks = session.execute(due).all()
            for chunk in chunks:
                for first in range(chunk.first, chunk.last + 1, _BATCH_ROWS):
                    last = min(first + _BATCH_ROWS - 1, chunk.last)
                    yield self._delete_done_range(chunk.job_id, first, last)
                with self._database.write() as session:
                    session.execute(delete(Chunk).where(Chunk.id == chunk.id))
                yield 1
            if len(chunks) < _PAGE_ROWS:
                return

    def _delete_done_range(self, job_id: str, first: int, last: int) -> int:
        # A product that was imported without one of its pictures is done, and can be retried.
        has_failure = exists().where(JobFailure.job_id == job_id, JobFailure.product_id == JobItem.product_id)
        with self._database.write() as session:
            done = delete(JobItem).where(
                JobItem.job_id == job_id,
                JobItem.number.between(first, last),
                JobItem.state == ItemState.DONE,
                ~has_failure,
            )
            return execute_rowcount(session, done)

    def _delete_expired(self) -> Iterator[int]:
        """Delete all rows of jobs that ended ``keep_s`` ago; yield the number of rows of each batch."""
        due = select(Job.id).where(*_HAS_ROWS).order_by(Job.finished_at).limit(_PAGE_ROWS)
        while True:
            with self._database.read() as session:
                job_ids = session.scalars(due.where(Job.finished_at < now_s() - self._keep_s)).all()
            for job_id in job_ids:
                yield from self._delete_rows_of(job_id)
            if len(job_ids) < _PAGE_ROWS:
                return

    def _delete_rows_of(self, job_id: str) -> Iterator[int]:
        tables: tuple[tuple[type[Base], Any, tuple[InstrumentedAttribute[Any], ...]], ...] = (
            (JobItem, JobItem.job_id, (JobItem.job_id, JobItem.number)),
            (JobFailure, JobFailure.job_id, (JobFailure.id,)),
            (Chunk, Chunk.job_id, (Chunk.id,)),
        )
        for table, column, key in tables:
            batch = select(*key).where(column == job_id).limit(_BATCH_ROWS)
            chosen = key[0].in_(batch) if len(key) == 1 else tuple_(*key).in_(batch)
            count = _BATCH_ROWS
            while count == _BATCH_ROWS:
                with self._database.write() as session:
                    count = execute_rowcount(session, delete(table).where(chosen))
                yield count
        with self._database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(rows_deleted_at=now_s()))
        yield 1
