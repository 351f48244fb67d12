"""Write the rows of a manifest as items and chunks of a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.contracts.states import ChunkStage, ItemState, JobPhase
from shared.database import Database
from shared.database.bulk import insert_rows
from shared.database.clock import now_s
from shared.database.tables import Chunk, Job, JobFailure, JobItem
from shared.jobs.close import add_problems
from shared.jobs.pace import add_sample
from shared.jobs.queue import JobQueue
from shared.jobs.states import new_chunk
from shared.jobs.work import ChunkClaim, Item, Problem

#: Number of entries per transaction.
STRETCH = 1000


def write_plan(
    desk: JobQueue,
    database: Database,
    claim: ChunkClaim,
    items: Iterable[Item | Problem],
    chunk_items: int,
    *,
    finish: bool = False,
) -> None:
    """Write the items of a job and split them into chunks; start over if it was interrupted before.

    Committed in parts, so that a manifest of any length needs little memory and no long lock.

    Args:
        finish: whether to add a last chunk of stage ``finish`` that runs when all items are done.
    """
    with database.write() as session:
        desk.renew_lease(session, claim)
        for table in (JobItem, JobFailure):
            session.execute(delete(table).where(table.job_id == claim.job_id))
        session.execute(delete(Chunk).where(Chunk.job_id == claim.job_id, Chunk.number > 0))
        session.execute(update(Job).where(Job.id == claim.job_id).values(failed=0, image_failures=0))
    number = failed = 0
    for stretch in _stretches(items, STRETCH):
        desk.report_progress()
        with database.write() as session:
            desk.renew_lease(session, claim)
            number, lost = _plan_stretch(session, claim.job_id, stretch, number)
            failed += lost
    with database.write() as session:
        desk.renew_lease(session, claim)
        k = 0
        for k, first in enumerate(range(1, number + 1, chunk_items), start=1):
            last = min(first + chunk_items - 1, number)
            session.add(new_chunk(claim.job_id, k, first, last, claim.priority))
            if k % STRETCH == 0:
                session.flush()
                session.expunge_all()
        if finish:
            session.add(new_chunk(claim.job_id, k + 1, 1, 0, claim.priority, ChunkStage.FINISH))
        session.execute(
            update(Job)
            .where(Job.id == claim.job_id)
            .values(
                total=number + failed,
                failed=failed,
                phase=JobPhase.WORK,
                pace=add_sample(None, now_s(), failed),
            )
        )


def _stretches(entries: Iterable[Item | Problem], size: int) -> Iterator[list[Item | Problem]]:
    waiting = iter(entries)
    while stretch := list(islice(waiting, size)):
        yield stretch


def _plan_stretch(
    session: Session, job_id: str, stretch: Sequence[Item | Problem], number: int
) -> tuple[int, int]:
    """Write items with the numbers after ``number``; a product named twice counts as a problem.

    Returns:
        The last number, and the number of problems.
    """
    items = [entry for entry in stretch if isinstance(entry, Item)]
    problems = [entry for entry in stretch if isinstance(entry, Problem)]
    seen = set(
        session.scalars(
            select(JobItem.product_id).where(
                JobItem.job_id == job_id, JobItem.product_id.in_({i.product_id for i in items})
            )
        )
    )
    rows: list[dict[str, Any]] = []
    for item in items:
        if item.product_id in seen:
            text = f"Product {item.product_id!r} came earlier in the manifest; the first row counts."
            problems.append(Problem(item.row, item.product_id, None, "duplicate_product_id", text))
            continue
        seen.add(item.product_id)
        number += 1
        rows.append(
            {
                "job_id": job_id,
                "number": number,
                "row": item.row,
                "product_id": item.product_id,
                "payload": item.payload,
                "state": ItemState.WAITING,
            }
        )
    insert_rows(session, JobItem, rows)
    add_problems(session, job_id, problems)
    return number, len(problems)
