"""End chunks and jobs: give them up with a reason, or close them when nothing is open."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shared.contracts.states import (
    OPEN_STATES,
    ChunkStage,
    ChunkState,
    ItemResult,
    ItemState,
    JobPhase,
    JobState,
)
from shared.database.clock import now_s
from shared.database.tables import Chunk, Job, JobFailure, JobItem
from shared.jobs.control import emit_job_event
from shared.jobs.work import Problem


def add_problems(session: Session, job_id: str, problems: Sequence[Problem]) -> None:
    """Record why products or pictures could not be used."""
    session.add_all(
        JobFailure(
            job_id=job_id,
            row=p.row,
            product_id=p.product_id,
            image=p.image,
            reason=p.reason,
            message=p.message,
        )
        for p in problems
    )


def fail_rest(session: Session, chunk: Chunk) -> None:
    """Fail the unfinished items of a chunk that was given up, with its error as the reason."""
    rest = session.scalars(
        select(JobItem).where(
            JobItem.job_id == chunk.job_id,
            JobItem.number.between(chunk.first, chunk.last),
            JobItem.state == ItemState.WAITING,
        )
    ).all()
    text = f"Given up after {chunk.attempts} tries: {chunk.error}"
    add_problems(
        session,
        chunk.job_id,
        [Problem(i.row, i.product_id, None, "given_up", text) for i in rest],
    )
    for item in rest:
        item.state, item.result, item.reason = ItemState.FAILED, ItemResult.FAILED, "given_up"
    session.execute(update(Job).where(Job.id == chunk.job_id).values(failed=Job.failed + len(rest)))
    if chunk.stage != ChunkStage.ITEMS:
        what = (
            "The manifest could not be read." if chunk.stage == ChunkStage.PLAN else "The last step failed."
        )
        session.execute(
            update(Job)
            .where(Job.id == chunk.job_id)
            .values(error_code="given_up", error_message=f"{what} {text}")
        )


def close_job(session: Session, job_id: str) -> None:
    """Close the job if none of its chunks is open; a held last chunk is released first."""
    # One of them instead of their count: each finished chunk of thousands asks.
    is_open = (Chunk.job_id == job_id, Chunk.state.in_((ChunkState.WAITING, ChunkState.RUNNING)))
    if session.scalar(select(Chunk.id).where(*is_open).limit(1)) is not None:
        return
    # Locked, because worker and sweeper may both see the last chunk done, and only one may emit the event.
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is not None and job.state in OPEN_STATES:
        last = session.scalar(select(Chunk).where(Chunk.job_id == job_id, Chunk.state == ChunkState.HELD))
        if last is not None and not job.error_code:
            last.state, job.phase = ChunkState.WAITING, JobPhase.FINISH
            return
        end_job(session, job, JobState.FAILED if job.error_code else JobState.SUCCEEDED)


def end_job(session: Session, job: Job, state: JobState) -> None:
    """Set the final state of the job, and emit its event."""
    job.state, job.finished_at = state, now_s()
    emit_job_event(session, job)
