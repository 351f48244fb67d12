"""Pause, resume, cancel and retry jobs.

Each function locks the chunks' rows before the job's row, as workers do. The reverse order would deadlock
with them on PostgreSQL.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from shared.contracts.states import (
    ENDED_STATES,
    OPEN_STATES,
    ChunkStage,
    ChunkState,
    IndexState,
    ItemState,
    JobKind,
    JobPhase,
    JobState,
)
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Chunk, IndexVersionRow, Job, JobFailure, JobItem
from shared.errors import Conflict, Expired, UnknownCatalogue, UnknownJob
from shared.jobs.states import BULK, UNFINISHED, URGENT, new_chunk
from shared.jobs.view import job_out
from shared.webhooks.repository import catalogue_name, emit

#: Kinds of jobs whose retry starts from the beginning, because each run fills a new collection.
_RESTARTED_KINDS = (JobKind.REBUILD,)


def find_job(session: Session, job_id: str) -> Job:
    """Return the job's row, or raise UnknownJob."""
    row = session.get(Job, job_id)
    if row is None:
        raise UnknownJob(f"There is no job {job_id!r}: GET /v1/jobs lists them.")
    return row


def pause(session: Session, job_id: str) -> None:
    """Pause the job: put running chunks back, and fence off their workers.

    Pausing a paused job changes nothing.

    Raises:
        UnknownJob.
        Conflict: the job has ended.
    """
    session.execute(
        update(Chunk)
        .where(Chunk.job_id == job_id, Chunk.state == ChunkState.RUNNING)
        .values(
            state=ChunkState.WAITING,
            fence=Chunk.fence + 1,
            holder=None,
            lease_until=0.0,
            # The attempt did not fail, so it does not count.
            attempts=Chunk.attempts - 1,
            error="paused",
        )
    )
    job = _locked(session, job_id)
    if job.state == JobState.PAUSED:
        return
    _refuse_ended(job, "paused")
    job.state, job.paused_at = JobState.PAUSED, now_s()
    emit_job_event(session, job)


def resume(session: Session, job_id: str) -> None:
    """Resume a paused job. Resuming an open job changes nothing.

    Raises:
        UnknownJob.
        Conflict: the job has ended.
    """
    job = _locked(session, job_id)
    if job.state in OPEN_STATES:
        return
    _refuse_ended(job, "resumed")
    job.state = JobState.QUEUED if job.started_at is None else JobState.RUNNING
    job.paused_s += now_s() - (job.paused_at or now_s()) if job.started_at is not None else 0.0
    # The samples from before the pause must not count towards the current rate.
    job.paused_at = job.pace = None


def cancel(session: Session, job_id: str) -> None:
    """Cancel the job: completed work is kept, waiting chunks never start.

    Cancelling a cancelled job changes nothing.

    Raises:
        UnknownJob.
        Conflict: the job has ended otherwise, or deletes a catalogue.
    """
    session.execute(
        update(Chunk)
        .where(
            Chunk.job_id == job_id,
            Chunk.state.in_(UNFINISHED),
            exists().where(Job.id == job_id, Job.state.not_in(ENDED_STATES)),
        )
        .values(state=ChunkState.DEAD, fence=Chunk.fence + 1, holder=None, error="cancelled")
    )
    job = _locked(session, job_id)
    if job.state == JobState.CANCELLED:
        return
    if job.kind == JobKind.DROP and job.state not in ENDED_STATES:
        raise Conflict(f"Job {job_id} deletes a catalogue that is hidden already: let it finish.")
    if job.state in ENDED_STATES:
        raise Conflict(f"Job {job_id} has already ended ({job.state}): there is nothing left to cancel.")
    job.state, job.finished_at = JobState.CANCELLED, now_s()
    emit_job_event(session, job)


def retry(session: Session, job_id: str, reason: str | None, chunk_items: int) -> str:
    """Create a job that retries the failures of an ended job from the same source; return its id.

    Without a reason, the unprocessed items and the last step of a failed or cancelled job are included. A job
    that ended before its items were listed is repeated as a whole.

    Args:
        reason: only items with this reason code, products imported without one of their pictures included.

    Raises:
        UnknownJob.
        Expired: what failed was deleted.
        Conflict: the job has not ended, nothing failed with this reason, or another job continued its index.
    """
    old = find_job(session, job_id)
    if old.state not in ENDED_STATES:
        raise Conflict(f"Job {job_id} has not ended: wait for it, or cancel it first.")
    if old.rows_deleted_at is not None and old.kind not in _RESTARTED_KINDS:
        raise Expired(
            f"What failed in job {job_id} was deleted, as it ended long ago (`jobs.keep_rows_s`): "
            "start the job again."
        )
    # Locked as ``find_catalogue`` does it, so that the catalogue cannot be deleted concurrently.
    key_share = {"read": True, "key_share": True}
    catalogue = session.get_one(Catalogue, old.catalogue_id, with_for_update=key_share)
    if catalogue.deleted_name is not None and old.kind != JobKind.DROP:
        raise UnknownCatalogue(
            f"The catalogue {catalogue.deleted_name!r} was deleted: there is nothing to retry."
        )
    new = Job(
        id=str(uuid.uuid4()),
        kind=old.kind,
        catalogue_id=old.catalogue_id,
        state=JobState.QUEUED,
        phase=JobPhase.PLAN,
        source=old.source,
        # A retry is always requested by a user, whatever created the first job.
        options={k: v for k, v in old.options.items() if k != "origin"},
        priority=min(old.priority, BULK),
        index_version=old.index_version,
        retry_of=old.id,
        accepted_at=old.accepted_at or old.created_at,
        product_id=old.product_id,
        created_at=now_s(),
    )
    session.add(new)
    session.flush()
    _hand_over(session, old, new.id)
    if old.kind in _RESTARTED_KINDS or (reason is None and _never_listed(session, old)):
        session.add(new_chunk(new.id, 0, 1, 0, BULK, ChunkStage.PLAN))
        return new.id
    new.phase, new.total = JobPhase.WORK, _copy_items(session, old, new.id, reason)
    if not new.total and (reason is not None or not _has_unfinished_last_step(session, old)):
        raise Conflict(_nothing_to_retry(session, old, reason))
    if not new.total:
        new.phase = JobPhase.FINISH
    _cut(session, old, new.id, new.total, chunk_items)
    return new.id


def _hand_over(session: Session, old: Job, new_id: str) -> None:
    """Transfer the index version that the old job was filling to the new job."""
    if old.kind != JobKind.REPROCESS or old.index_version is None:
        return
    version = session.get(IndexVersionRow, old.index_version, with_for_update=True)
    if version is None or version.state != IndexState.BUILDING:
        return  # re-processed in place, or already past the quality gate
    if version.job_id != old.id:
        raise Conflict(f"Job {version.job_id} continued index {version.number}: retry that job instead.")
    version.job_id = new_id


def emit_job_event(session: Session, job: Job) -> None:
    """Emit the event of the job's current state to webhooks."""
    session.flush()
    name = catalogue_name(session, job.catalogue_id)
    emit(session, f"job.{job.state}", name, job_out(job, name).model_dump(mode="json"))


def _locked(session: Session, job_id: str) -> Job:
    row = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise UnknownJob(f"There is no job {job_id!r}: GET /v1/jobs lists them.")
    return row


def _refuse_ended(job: Job, what: str) -> None:
    if job.state in ENDED_STATES:
        raise Conflict(
            f"Job {job.id} has ended ({job.state}) and cannot be {what}: retry it to repeat its failures."
        )


def _never_listed(session: Session, job: Job) -> bool:
    """Return whether the job failed or was cancelled before its items were listed."""
    if job.state == JobState.SUCCEEDED:
        return False
    return job.phase == JobPhase.PLAN or not session.scalar(
        select(JobItem.number).where(JobItem.job_id == job.id).limit(1)
    )


def _has_unfinished_last_step(session: Session, job: Job) -> bool:
    """Return whether the job failed or was cancelled before its last step was done."""
    if job.state == JobState.SUCCEEDED:
        return False
    ends = select(Chunk.id).where(
        Chunk.job_id == job.id, Chunk.stage == ChunkStage.FINISH, Chunk.state != ChunkState.DONE
    )
    return session.scalar(ends.limit(1)) is not None


def _copy_items(session: Session, old: Job, new_id: str, reason: str | None) -> int:
    """Copy the failed items of the old job to the new one with new numbers; return their count."""
    failed = _failed_items(old, reason).subquery()
    columns = ("job_id", "number", "row", "product_id", "payload", "state", "attempts")
    session.execute(
        insert(JobItem).from_select(
            columns,
            select(
                literal(new_id),
                func.row_number().over(order_by=failed.c.number),
                failed.c.row,
                failed.c.product_id,
                failed.c.payload,
                literal(ItemState.WAITING.value),
                literal(0),
            ),
        )
    )
    return session.scalar(select(func.count()).where(JobItem.job_id == new_id)) or 0


def _failed_items(job: Job, reason: str | None) -> Select[Any]:
    """Select the failed items of a job.

    A product named twice in a manifest has a failure in another row than its item's; that one is left out.
    """
    failures = exists().where(
        JobFailure.job_id == job.id,
        JobFailure.product_id == JobItem.product_id,
        JobFailure.row == JobItem.row,
        *([JobFailure.reason == reason] if reason is not None else []),
    )
    chosen: list[ColumnElement[bool]] = [failures]
    if reason is None and job.state in (JobState.FAILED, JobState.CANCELLED):
        chosen.append(JobItem.state == ItemState.WAITING)
    return select(JobItem.number, JobItem.row, JobItem.product_id, JobItem.payload).where(
        and_(JobItem.job_id == job.id, or_(*chosen))
    )


def _nothing_to_retry(session: Session, job: Job, reason: str | None) -> str:
    if reason is not None:
        known = session.scalars(
            select(JobFailure.reason)
            .where(JobFailure.job_id == job.id)
            .distinct()
            .order_by(JobFailure.reason)
        ).all()
        reasons = f"its reasons are {', '.join(known)}" if known else "nothing failed"
        return f"No product of job {job.id} can be retried for the reason {reason!r}: {reasons}."
    if job.failed:
        return f"Job {job.id} failed rows of its manifest only: correct the manifest and import it again."
    return f"Nothing failed in job {job.id}: there is nothing to retry."


def _cut(session: Session, old: Job, new_id: str, count: int, chunk_items: int) -> None:
    """Split the items into chunks; add a last chunk if the old job had one."""
    chunks = session.execute(
        select(Chunk.stage, func.min(Chunk.priority)).where(Chunk.job_id == old.id).group_by(Chunk.stage)
    ).all()
    priority = min((p for _, p in chunks), default=URGENT)
    priority = min(priority, BULK)
    number = 0
    for number, first in enumerate(range(1, count + 1, chunk_items), start=1):
        last = min(first + chunk_items - 1, count)
        session.add(new_chunk(new_id, number, first, last, priority))
    if any(stage == ChunkStage.FINISH for stage, _ in chunks):
        end = new_chunk(new_id, number + 1, 1, 0, priority, ChunkStage.FINISH)
        session.add(end)
        if not count:
            end.state = ChunkState.WAITING  # no other chunk would release it
