"""Isolation of the rows that make a micro-batch fail: they fail alone, and the others are written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol, TypeVar

from pydantic import ValidationError
from sqlalchemy.exc import StatementError

from shared.errors import InvalidInput, UnreadableRow, VitrineError
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem
from worker.products.context import JobContext

log = logging.getLogger(__name__)
Batch = TypeVar("Batch")

#: Errors that the data of a row can cause at any stage. The checks on reading a row should leave none of
#: them; this is for what they do not foresee. Not among them: ``MemoryError``, and services that are away.
DATA_ERRORS: tuple[type[Exception], ...] = (
    InvalidInput,
    UnreadableRow,
    ValueError,  # UnicodeError and JSON errors too
    ArithmeticError,  # OverflowError, and what `decimal` raises
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)
_MAX_REASON_CHARS = 500


class Stages(Protocol[Batch]):
    """The stages of a micro-batch. Each one gets the micro-batches in order, one at a time.

    Raises, from each method: what ``JobKind.work`` may raise. Earlier micro-batches are then written, later
    ones are not.
    """

    def load(self, items: Sequence[Item]) -> Batch:
        """Read and decode; runs while earlier micro-batches are embedded and written."""
        ...

    def embed(self, batch: Batch) -> None:
        """Run the models, on the caller's thread."""
        ...

    def write(self, batch: Batch) -> None:
        """Write index and database, and record the outcomes; runs while the next one is embedded."""
        ...


def is_data_error(error: BaseException) -> bool:
    """Return whether a row's data can be the cause; SQLAlchemy wraps its own errors about a value."""
    if isinstance(error, StatementError) and isinstance(error.orig, DATA_ERRORS):
        return True
    return isinstance(error, DATA_ERRORS)


def isolate(
    context: JobContext, claim: ChunkClaim, stages: Stages[Batch], items: Sequence[Item], error: Exception
) -> None:
    """Write a micro-batch that failed with a data error, except for the items that cause one.

    The batch is halved until single items are left, so one bad item among N costs about 2 log2(N) batches.

    Raises:
        LostLease, WorkerStopping, Unavailable: as the stages raise them; earlier halves stay written.
    """
    if len(items) == 1:
        fail_item(context, claim, items[0], error)
        return
    middle = len(items) // 2
    for half in (items[:middle], items[middle:]):
        context.desk.report_progress()
        try:
            run_stages(stages, half)
        except Exception as cause:
            if not is_data_error(cause):
                raise
            isolate(context, claim, stages, half, cause)


def run_stages(stages: Stages[Batch], items: Sequence[Item]) -> None:
    """Take one micro-batch through the stages, one after another."""
    batch = stages.load(items)
    stages.embed(batch)
    stages.write(batch)


def fail_item(context: JobContext, claim: ChunkClaim, item: Item, error: Exception) -> None:
    """Record an item as failed, with the error as its reason."""
    reason, message = reason_of(error)
    if not isinstance(error, VitrineError):
        log.error("product %s of job %s failed", item.product_id, claim.job_id, exc_info=error)
    problem = Problem(item.row, item.product_id, None, reason, message)
    with context.database.write() as session:
        context.desk.record(session, claim, [Outcome(item, "failed", 0, [problem])])


def reason_of(error: Exception) -> tuple[str, str]:
    """Return the reason code and the sentence that a failed row shows."""
    if isinstance(error, VitrineError):
        return error.code, error.message
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        return "invalid_row", f"{field}: {first['msg']}"
    text = f"{type(error).__name__}: {error}"[:_MAX_REASON_CHARS]
    return "invalid_row", f"This row cannot be processed ({text}): correct it and import it again."
