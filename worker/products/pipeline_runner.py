"""A chunk's items in micro-batches, through three stages that overlap: load, embed, write."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from shared.errors import VitrineError
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem
from worker.products.context import JobContext
from worker.products.isolation import Batch, Stages, fail_item, is_data_error, isolate, run_stages

#: Maximum number of micro-batches queued for writing before inference blocks.
_MAX_UNWRITTEN = 2
#: Where no picture is read, a micro-batch and a chunk take that many times as many products.
LIGHT_BATCH, LIGHT_CHUNK = 16, 32
#: Tries of a product that ended its worker each time, after which it is given up.
_MAX_LOST_TRIES = 2


def do_items(
    context: JobContext,
    claim: ChunkClaim,
    items: Sequence[Item],
    stages: Stages[Batch],
    *,
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Take items through the stages, and find one that kills the process.

    Args:
        begin: called before anything is written, while the first items are loaded and embedded.

    Raises:
        LostLease: the chunk went to another worker; nothing was written after that.
        Anything that ``begin`` or a stage raises.
    """
    if claim.attempts == 1:
        _run_overlapped(context, claim, micro_batches(items, context.micro_batch), stages, begin)
        return
    # A chunk that was tried before is done product by product, so that one which kills the process is
    # found and the others get done.
    begin()
    for item in items:
        context.give_way(claim)
        tries = context.desk.count_item_attempt(claim, item)
        if tries > _MAX_LOST_TRIES:
            _give_up(context, claim, item)
            continue
        try:
            run_stages(stages, [item])
        except Exception as error:
            # An unforeseen error counts as the item's when it comes up twice with the item alone.
            is_unforeseen = not isinstance(error, VitrineError | MemoryError) and tries > 1
            if not (is_data_error(error) or is_unforeseen):
                raise
            fail_item(context, claim, item, error)


def do_light_items(
    context: JobContext, claim: ChunkClaim, items: Sequence[Item], stages: Stages[Batch]
) -> None:
    """Take items of which no picture is read through the stages, in large micro-batches.

    Nothing in them kills a process, so that a chunk that was tried before is done like any other.

    Raises: as ``do_items``.
    """
    size = context.micro_batch * LIGHT_BATCH
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    _run_overlapped(context, claim, batches, stages, lambda: None)


def micro_batches(items: Sequence[Item], pictures: int) -> list[list[Item]]:
    """Split items into micro-batches of at most ``pictures`` pictures, or of one item that has more."""
    batches: list[list[Item]] = []
    room = 0
    for item in items:
        named = item.payload.get("images") or item.payload.get("files") or ()
        if not batches or room < max(len(named), 1):
            batches.append([])
            room = pictures
        batches[-1].append(item)
        room -= max(len(named), 1)
    return batches


def _run_overlapped(
    context: JobContext,
    claim: ChunkClaim,
    batches: Sequence[Sequence[Item]],
    stages: Stages[Batch],
    begin: Callable[[], None],
) -> None:
    """One micro-batch is loaded ahead, one embedded, and at most ``_MAX_UNWRITTEN`` wait to be written.

    One that fails with a data error is set aside. When the others are written, it is halved until the
    rows that cause the error are found.
    """
    spoiled: list[tuple[Sequence[Item], Exception]] = []

    def write(batch: Batch, items: Sequence[Item]) -> None:
        try:
            stages.write(batch)
        except Exception as error:
            _set_aside(spoiled, items, error)

    unwritten: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "ahead") as ahead, ThreadPoolExecutor(1, "behind") as behind:
        steps = _StepSequence()
        unwritten.append(behind.submit(steps.run, begin))
        loading = [ahead.submit(stages.load, batches[0])] if batches else []
        for k, items in enumerate(batches):
            try:
                batch = loading.pop().result()
            except Exception as error:
                _set_aside(spoiled, items, error)
                batch = None
            if k + 1 < len(batches):
                loading.append(ahead.submit(stages.load, batches[k + 1]))
            context.give_way(claim)
            if batch is None:
                continue
            try:
                stages.embed(batch)
            except Exception as error:
                _set_aside(spoiled, items, error)
                continue
            while len(unwritten) >= _MAX_UNWRITTEN:
                unwritten.popleft().result()
            unwritten.append(behind.submit(steps.run, partial(write, batch, items)))
        for writing in unwritten:
            writing.result()
    for items, cause in spoiled:
        isolate(context, claim, stages, items, cause)


def _set_aside(
    spoiled: list[tuple[Sequence[Item], Exception]], items: Sequence[Item], error: Exception
) -> None:
    """Keep a micro-batch for ``isolate`` if its data is the cause; raise the error otherwise."""
    if not is_data_error(error):
        raise error
    spoiled.append((items, error))


class _StepSequence:
    """Runs steps until one fails; later ones do nothing."""

    def __init__(self) -> None:
        self._has_failed = False

    def run(self, step: Callable[[], None]) -> None:
        if self._has_failed:
            return
        try:
            step()
        except BaseException:
            self._has_failed = True
            raise


def _give_up(context: JobContext, claim: ChunkClaim, item: Item) -> None:
    text = f"The worker ended {item.attempts} times while working on this product."
    problem = Problem(item.row, item.product_id, None, "worker_lost", text)
    with context.database.write() as session:
        context.desk.record(session, claim, [Outcome(item, "failed", 0, [problem])])
        context.desk.reset_attempts(session, claim)
