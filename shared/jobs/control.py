"""Pause, resume, cancel and retry: what a person does to a job.

Each takes the chunks' rows before the job's, as the workers do: PostgreSQL would end one of two
transactions that took them crosswise.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from shared.contracts import ENDED_STATES
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Chunk, IndexVersionRow, Job, JobFailure, JobItem
from shared.errors import Conflict, UnknownCatalogue, UnknownJob
from shared.jobs.states import BULK, OPEN_STATES, UNFINISHED, URGENT, new_chunk
from shared.jobs.view import job_out
from shared.webhooks.repository import catalogue_name, emit

#: Kinds of jobs whose retry does all of it: each writes to a place of its own.
_BEGUN_ANEW = ("rebuild",)


def find_job(session: Session, job_id: str) -> Job:
    """Return the job's row; UnknownJob if there is none."""
    row = session.get(Job, job_id)
    if row is None:
        raise UnknownJob(f"There is no job {job_id!r}: GET /v1/jobs lists them.")
    return row


def pause(session: Session, job_id: str) -> None:
    """Stop the job until it is resumed: chunks that run go back, and their workers are told no.

    A job that is paused already stays so.

    Raises:
        UnknownJob.
        Conflict: it has ended.
    """
    session.execute(
        update(Chunk)
        .where(Chunk.job_id == job_id, Chunk.state == "running")
        .values(
            state="waiting",
            fence=Chunk.fence + 1,
            holder=None,
            lease_until=0.0,
            # Nobody failed: this try does not count.
            attempts=Chunk.attempts - 1,
            error="paused",
        )
    )
    job = _locked(session, job_id)
    if job.state == "paused":
        return
    _refuse_ended(job, "paused")
    job.state, job.paused_at = "paused", now_s()
    emit_job_event(session, job)


def resume(session: Session, job_id: str) -> None:
    """Let a paused job go on. One that is not paused stays as it is.

    Raises:
        UnknownJob.
        Conflict: it has ended.
    """
    job = _locked(session, job_id)
    if job.state in OPEN_STATES:
        return
    _refuse_ended(job, "resumed")
    job.state = "queued" if job.started_at is None else "running"
    job.paused_s += now_s() - (job.paused_at or now_s()) if job.started_at is not None else 0.0
    # The rate of before is not told as the present one.
    job.paused_at = job.pace = None


def cancel(session: Session, job_id: str) -> None:
    """End the job: what is done stays, chunks that wait never start. A cancelled one stays so.

    Raises:
        UnknownJob.
        Conflict: it has ended by itself.
    """
    session.execute(
        update(Chunk)
        .where(
            Chunk.job_id == job_id,
            Chunk.state.in_(UNFINISHED),
            exists().where(Job.id == job_id, Job.state.not_in(ENDED_STATES)),
        )
        .values(state="dead", fence=Chunk.fence + 1, holder=None, error="cancelled")
    )
    job = _locked(session, job_id)
    if job.state == "cancelled":
        return
    if job.kind == "drop" and job.state not in ENDED_STATES:
        raise Conflict(f"Job {job_id} deletes a catalogue that nobody sees any more: let it end.")
    if job.state in ENDED_STATES:
        raise Conflict(f"Job {job_id} has {job.state} already: there is nothing left to cancel.")
    job.state, job.finished_at = "cancelled", now_s()
    emit_job_event(session, job)


def retry(session: Session, job_id: str, reason: str | None, chunk_items: int) -> str:
    """Make a job that does again what failed in one that ended, from the same source; return its id.

    Without a reason, what a failed or cancelled job never got to is done too, its own end included, and a
    job that ended before its items were listed is done anew as a whole.

    Args:
        reason: only items with this reason code; those whose product went in without a picture count.

    Raises:
        UnknownJob.
        Conflict: it has not ended, nothing failed with this reason, or another job went on with its index.
    """
    old = find_job(session, job_id)
    if old.state not in ENDED_STATES:
        raise Conflict(f"Job {job_id} has not ended: wait for its end, or cancel it first.")
    # Held as ``find_catalogue`` does it, or it could be deleted at this moment.
    held = {"read": True, "key_share": True}
    place = session.get_one(Catalogue, old.catalogue_id, with_for_update=held)
    if place.deleted_name is not None and old.kind != "drop":
        raise UnknownCatalogue(
            f"The catalogue {place.deleted_name!r} was deleted: there is nothing to retry."
        )
    new = Job(
        id=str(uuid.uuid4()),
        kind=old.kind,
        catalogue_id=old.catalogue_id,
        state="queued",
        phase="plan",
        source=old.source,
        # A person asks for it now, whoever did before.
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
    if old.kind in _BEGUN_ANEW or (reason is None and _never_listed(session, old)):
        session.add(new_chunk(new.id, 0, 1, 0, BULK, "plan"))
        return new.id
    new.phase, new.total = "work", _copy_items(session, old, new.id, reason)
    if not new.total and (reason is not None or not _end_is_left(session, old)):
        raise Conflict(_nothing_to_retry(session, old, reason))
    if not new.total:
        new.phase = "finish"
    _cut(session, old, new.id, new.total, chunk_items)
    return new.id


def _hand_over(session: Session, old: Job, new_id: str) -> None:
    """Let the new job end what the old one began: an index that it filled is judged, and then ready."""
    if old.kind != "reprocess" or old.index_version is None:
        return
    version = session.get(IndexVersionRow, old.index_version, with_for_update=True)
    if version is None or version.state != "building":
        return  # done in place, or judged already
    if version.job_id != old.id:
        raise Conflict(f"Job {version.job_id} went on with index {version.number}: see to that one.")
    version.job_id = new_id


def emit_job_event(session: Session, job: Job) -> None:
    """Tell the webhooks of the state that the job now has."""
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
            f"Job {job.id} has ended ({job.state}) and cannot be {what}: retry does what failed again."
        )


def _never_listed(session: Session, job: Job) -> bool:
    """Whether the job ended badly with no item to its name."""
    if job.state == "succeeded":
        return False
    return job.phase == "plan" or not session.scalar(
        select(JobItem.number).where(JobItem.job_id == job.id).limit(1)
    )


def _end_is_left(session: Session, job: Job) -> bool:
    """Whether the job ended badly before what comes when all its items are done."""
    if job.state == "succeeded":
        return False
    ends = select(Chunk.id).where(Chunk.job_id == job.id, Chunk.stage == "finish", Chunk.state != "done")
    return session.scalar(ends.limit(1)) is not None


def _copy_items(session: Session, old: Job, new_id: str, reason: str | None) -> int:
    """Give the new job the old one's items that failed, numbered anew; return how many."""
    wanted = _failed_items(old, reason).subquery()
    columns = ("job_id", "number", "row", "product_id", "payload", "state", "attempts")
    session.execute(
        insert(JobItem).from_select(
            columns,
            select(
                literal(new_id),
                func.row_number().over(order_by=wanted.c.number),
                wanted.c.row,
                wanted.c.product_id,
                wanted.c.payload,
                literal("waiting"),
                literal(0),
            ),
        )
    )
    return session.scalar(select(func.count()).where(JobItem.job_id == new_id)) or 0


def _failed_items(job: Job, reason: str | None) -> Select[Any]:
    """A product named twice in a manifest has a failure too, in another row: that is no item's."""
    failures = exists().where(
        JobFailure.job_id == job.id,
        JobFailure.product_id == JobItem.product_id,
        JobFailure.row == JobItem.row,
        *([JobFailure.reason == reason] if reason is not None else []),
    )
    chosen: list[ColumnElement[bool]] = [failures]
    if reason is None and job.state in ("failed", "cancelled"):
        chosen.append(JobItem.state == "waiting")
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
        there = f"its reasons are {', '.join(known)}" if known else "nothing failed"
        return f"No product of job {job.id} can be tried again for the reason {reason!r}: {there}."
    if job.failed:
        return f"Job {job.id} failed rows of its manifest only: correct the manifest and import it again."
    return f"Nothing failed in job {job.id}: there is nothing to try again."


def _cut(session: Session, old: Job, new_id: str, count: int, chunk_items: int) -> None:
    """Cut the items into chunks; a job that had an end of its own gets one again."""
    chunks = session.execute(
        select(Chunk.stage, func.min(Chunk.priority)).where(Chunk.job_id == old.id).group_by(Chunk.stage)
    ).all()
    priority = min((p for _, p in chunks), default=URGENT)
    priority = min(priority, BULK)
    number = 0
    for number, first in enumerate(range(1, count + 1, chunk_items), start=1):
        last = min(first + chunk_items - 1, count)
        session.add(new_chunk(new_id, number, first, last, priority))
    if any(stage == "finish" for stage, _ in chunks):
        end = new_chunk(new_id, number + 1, 1, 0, priority, "finish")
        session.add(end)
        if not count:
            end.state = "waiting"  # nobody is before it who would let it go
