"""Choose the next job of a worker: the most urgent, then the catalogue that has waited longest.

Priorities are those of ``shared.jobs.states``. Within a catalogue the oldest job comes first. Each claimed
chunk ends the turn of its catalogue, so that neither an import nor a burst of single updates blocks another
catalogue. Updates of one product run one after another, in the order in which they were accepted.

The first job of each catalogue is found by a partial index of open jobs. Ended jobs and the rest of a long
queue are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, exists, func, literal_column, select
from sqlalchemy.orm import Session, aliased

from shared.contracts.states import OPEN_STATES, ChunkState, JobKind
from shared.database.catalogue_rows import display_name
from shared.database.tables import Catalogue, Chunk, Job
from shared.jobs.states import IS_UNDERSTOOD

#: Literals instead of bound parameters, because both databases use the partial index only with literals.
_OPEN: Final[list[ColumnElement[str]]] = [literal_column(f"'{state}'") for state in OPEN_STATES]
IS_OPEN: Final = Job.state.in_(_OPEN)
#: Condition on chunks, as literal for the same reason.
IS_RUNNING: Final = Chunk.state == literal_column(f"'{ChunkState.RUNNING}'")
#: Kinds of jobs that may run in the middle of a bulk chunk.
QUICK_KINDS: Final = (JobKind.PUT, JobKind.DELETE)
#: Condition on chunks: a chunk that was tried before may have killed its process.
IS_UNTRIED: Final = Chunk.attempts == 0
_IS_CLAIMABLE: Final = (Chunk.state == ChunkState.WAITING, Chunk.lease_until <= bindparam("now"))


def next_job(
    session: Session, now_s: float, quick_before: int | None = None, without: Sequence[str] = ()
) -> str | None:
    """Return the id of the next job, None if no job has a claimable chunk.

    Args:
        quick_before: only untried single updates more urgent than this priority.
        without: jobs to skip.
    """
    statement = _turns(quick_before is not None, bool(without))
    values = {"now": now_s, "priority": quick_before, "without": list(without)}
    found: str | None = session.scalar(statement, values)
    return found


def first_chunk(session: Session, job_id: str, now_s: float, untried: bool = False) -> Chunk | None:
    """Return the job's next chunk, locked; None if other workers are claiming them all."""
    found: Chunk | None = session.scalar(
        select(Chunk)
        .where(Chunk.job_id == job_id, *_IS_CLAIMABLE, *((IS_UNTRIED,) if untried else ()))
        .order_by(Chunk.number)
        .limit(1)
        .with_for_update(skip_locked=True),
        {"now": now_s},
    )
    return found


def chunks_behind(session: Session, job_id: str) -> list[str]:
    """Return the chunk of the next update of the same product, which has waited for this job."""
    job = session.get_one(Job, job_id)
    if job.product_id is None or job.state in OPEN_STATES:
        return []
    return list(
        session.scalars(
            select(Chunk.id)
            .join(Job, Job.id == Chunk.job_id)
            .where(Job.catalogue_id == job.catalogue_id, Job.product_id == job.product_id, IS_OPEN)
            .where(Chunk.state == ChunkState.WAITING)
            .order_by(Job.created_at)
            .limit(1)
        )
    )


def reason_to_wait(session: Session, now_s: float, priority: int) -> str | None:
    """Return why a job of this priority has to yield, as a sentence; None if nothing more urgent waits."""
    found = session.execute(_MORE_URGENT, {"now": now_s, "priority": priority}).one_or_none()
    if found is None:
        return None
    job_id, kind, catalogue = found
    return f"Yields to job {job_id} ({kind} of {catalogue}), which a user requested, and continues after it."


@cache
def _turns(only_quick: bool, excluding: bool) -> Select[Any]:
    earlier, head, previous = aliased(Job), aliased(Job), aliased(Job)
    of_chunk = (*_IS_CLAIMABLE, *((IS_UNTRIED,) if only_quick else ()))
    conditions = [
        Job.catalogue_id == Catalogue.id,
        IS_OPEN,
        *IS_UNDERSTOOD,
        exists().where(Chunk.job_id == Job.id, *of_chunk),
        ~exists().where(
            previous.catalogue_id == Job.catalogue_id,
            previous.product_id == Job.product_id,
            previous.state.in_(_OPEN),
            previous.created_at < Job.created_at,
        ),
        *((Job.priority < bindparam("priority"), Job.kind.in_(QUICK_KINDS)) if only_quick else ()),
        *((Job.id.not_in(bindparam("without", expanding=True)),) if excluding else ()),
    ]
    first = (
        select(Job.id)
        .where(*conditions)
        .order_by(Job.priority, Job.created_at)
        .limit(1)
        .correlate(Catalogue)
        .scalar_subquery()
    )
    served_at = (
        select(func.max(earlier.claimed_at)).where(earlier.catalogue_id == Catalogue.id).scalar_subquery()
    )
    heads = select(first.label("job_id"), served_at.label("served_at")).select_from(Catalogue).subquery()
    return (
        select(head.id)
        .join(heads, heads.c.job_id == head.id)
        .order_by(head.priority, func.coalesce(heads.c.served_at, 0.0), head.created_at)
        .limit(1)
    )


_MORE_URGENT = (
    select(Job.id, Job.kind, display_name)
    .join(Catalogue, Catalogue.id == Job.catalogue_id)
    .where(IS_OPEN, *IS_UNDERSTOOD, Job.priority < bindparam("priority"))
    .where(exists().where(Chunk.job_id == Job.id, *_IS_CLAIMABLE))
    .limit(1)
)
