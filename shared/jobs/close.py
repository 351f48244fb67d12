"""How chunks and jobs end: given up with a reason, or closed when nothing of them is open."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from shared.database.clock import now_s
from shared.database.tables import Chunk, Job, JobFailure, JobItem
from shared.jobs.control import emit_job_event
from shared.jobs.states import OPEN_STATES
from shared.jobs.work import Problem


def add_problems(session: Session, job_id: str, problems: Sequence[Problem]) -> None:
    """List why products or pictures could not be used."""
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
    """Fail the items of a chunk that was given up, with the reason."""
    rest = session.scalars(
        select(JobItem).where(
            JobItem.job_id == chunk.job_id,
            JobItem.number.between(chunk.first, chunk.last),
            JobItem.state == "waiting",
        )
    ).all()
    text = f"Given up after {chunk.attempts} tries: {chunk.error}"
    add_problems(
        session,
        chunk.job_id,
        [Problem(i.row, i.product_id, None, "given_up", text) for i in rest],
    )
    for item in rest:
        item.state, item.result, item.reason = "failed", "failed", "given_up"
    session.execute(update(Job).where(Job.id == chunk.job_id).values(failed=Job.failed + len(rest)))
    if chunk.stage != "items":
        what = "The manifest could not be read." if chunk.stage == "plan" else "The last step failed."
        session.execute(
            update(Job)
            .where(Job.id == chunk.job_id)
            .values(error_code="given_up", error_message=f"{what} {text}")
        )


def close_job(session: Session, job_id: str) -> None:
    """Finish the job if no chunk of it is open; what was held back for the end is let go first."""
    left = session.scalar(
        select(func.count()).where(Chunk.job_id == job_id, Chunk.state.in_(("waiting", "running")))
    )
    if left:
        return
    # Locked: worker and sweeper may both see the last chunk done, and only one of them tells the end.
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is not None and job.state in OPEN_STATES:
        last = session.scalar(select(Chunk).where(Chunk.job_id == job_id, Chunk.state == "held"))
        if last is not None and not job.error_code:
            last.state, job.phase = "waiting", "finish"
            return
        end_job(session, job, "failed" if job.error_code else "succeeded")


def end_job(session: Session, job: Job, state: str) -> None:
    """Write the job's end, and tell it."""
    job.state, job.finished_at = state, now_s()
    emit_job_event(session, job)
