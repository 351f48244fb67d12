"""Create jobs: the row, the first chunk, and the check for conflicting jobs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.contracts.states import ENDED_STATES, ChunkStage, ItemState, JobKind, JobPhase, JobState
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Job, JobItem
from shared.errors import Conflict
from shared.jobs.states import BULK, URGENT, new_chunk

#: Product id and payload of an item.
JobInput = tuple[str, dict[str, Any]]


def add_job(
    session: Session,
    catalogue_row: Catalogue,
    kind: JobKind,
    items: Sequence[JobInput] = (),
    *,
    source: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    index_version: int | None = None,
    priority: int | None = None,
    caller: str | None = None,
) -> str:
    """Add a job to the caller's transaction; return its id.

    Args:
        kind: a name in ``worker/jobs``.
        items: empty if a worker is to list them.
        priority: defaults to ``URGENT`` with items, else ``BULK``.
        caller: who requested it; None: the system.
    """
    urgency = priority if priority is not None else URGENT if items else BULK
    job = Job(
        id=str(uuid.uuid4()),
        kind=kind,
        catalogue_id=catalogue_row.id,
        state=JobState.QUEUED,
        source=source or {},
        options=options or {},
        index_version=index_version,
        priority=urgency,
        caller=caller,
        product_id=items[0][0] if len(items) == 1 else None,
        phase=JobPhase.WORK if items else JobPhase.PLAN,
        total=len(items) if items else None,
        created_at=now_s(),
    )
    session.add(job)
    session.flush()
    # Bulk work starts with chunk 0, which lists the products; other jobs have their items from the start.
    number, last, stage = (1, len(items), ChunkStage.ITEMS) if items else (0, 0, ChunkStage.PLAN)
    session.add(new_chunk(job.id, number, 1, last, urgency, stage))
    session.add_all(
        JobItem(job_id=job.id, number=n, row=n, product_id=p, payload=payload, state=ItemState.WAITING)
        for n, (p, payload) in enumerate(items, start=1)
    )
    return job.id


def require_idle(
    session: Session, catalogue_id: int, kinds: Sequence[str] | None = None, version: int | None = None
) -> None:
    """Raise Conflict if a job of the catalogue is open.

    The result holds until the transaction ends if ``find_catalogue`` has locked the catalogue.

    Args:
        kinds: only jobs of these kinds.
        version: only jobs of this index version.
    """
    query = select(Job.id, Job.kind).where(Job.catalogue_id == catalogue_id, Job.state.not_in(ENDED_STATES))
    if kinds is not None:
        query = query.where(Job.kind.in_(kinds))
    if version is not None:
        query = query.where(Job.index_version == version)
    busy = session.execute(query.limit(1)).one_or_none()
    if busy is not None:
        raise Conflict(
            f"Job {busy.id} ({busy.kind}) is open on this: wait for it, or cancel it with "
            f"`vitrine jobs cancel {busy.id}`."
        )
