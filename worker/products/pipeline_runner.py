"""A chunk's items in micro-batches, through three stages that overlap: load, embed, write."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from shared.errors import VitrineError
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem
from worker.products.context import JobContext
from worker.products.isolation import fail_item, is_data_error, isolate

Batch = TypeVar("Batch")

#: So many micro-batches may wait for the index, so that a slow write does not stop the models at once.
_UNWRITTEN = 2
#: Where no picture is read, a micro-batch takes so many times as many products, and a chunk so many.
LIGHT_BATCH, LIGHT_CHUNK = 16, 32


class Stages(Protocol[Batch]):
    """What is done with a micro-batch. Each stage sees the micro-batches in order, one at a time.

    Raises, from each method: what ``JobKind.work`` may raise. What came before in order is written,
    what comes after is not.
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


def do_items(
    tools: JobContext,
    claim: ChunkClaim,
    items: Sequence[Item],
    stages: Stages[Batch],
    *,
    begin: Callable[[], None] = lambda: None,
) -> None:
    """Take items through the stages, and find out one that kills the process.

    Args:
        begin: done before anything is written, while the first items are loaded and embedded.

    Raises:
        LostLease: the chunk went to another worker; nothing was written after that.
        Anything that ``begin`` or a stage raises.
    """
    if claim.attempts == 1:
        _overlapped(tools, claim, micro_batches(items, tools.micro_batch), stages, begin)
        return
    # A chunk that was tried before is done product by product, so that one which kills the process is
    # found out and the others get done.
    begin()
    for item in items:
        tools.give_way(claim)
        tries = tools.desk.count_item_attempt(claim, item)
        if tries > 2:
            _give_up(tools, claim, item)
            continue
        try:
            batch = stages.load([item])
            stages.embed(batch)
            stages.write(batch)
        except Exception as error:
            # What nobody foresaw counts as the item's when it comes up twice with the item alone.
            unforeseen = not isinstance(error, VitrineError | MemoryError) and tries > 1
            if not (is_data_error(error) or unforeseen):
                raise
            fail_item(tools, claim, item, error)


def do_light_items(
    tools: JobContext, claim: ChunkClaim, items: Sequence[Item], stages: Stages[Batch]
) -> None:
    """Take items of which no picture is read through the stages, many at a time.

    Nothing in them kills a process, so that a chunk that was tried before is done like any other.

    Raises: as ``do_items``.
    """
    size = tools.micro_batch * LIGHT_BATCH
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    _overlapped(tools, claim, batches, stages, lambda: None)


def micro_batches(items: Sequence[Item], pictures: int) -> list[list[Item]]:
    """Cut items into stretches of at most so many pictures, or of one item that has more."""
    stretches: list[list[Item]] = []
    room = 0
    for item in items:
        named = item.payload.get("images") or item.payload.get("files") or ()
        if not stretches or room < max(len(named), 1):
            stretches.append([])
            room = pictures
        stretches[-1].append(item)
        room -= max(len(named), 1)
    return stretches


def _overlapped(
    tools: JobContext,
    claim: ChunkClaim,
    batches: Sequence[Sequence[Item]],
    stages: Stages[Batch],
    begin: Callable[[], None],
) -> None:
    """One micro-batch is loaded ahead, one embedded, and at most ``_UNWRITTEN`` wait to be written.

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
        in_order = _InOrder()
        unwritten.append(behind.submit(in_order.do, begin))
        coming = [ahead.submit(stages.load, batches[0])] if batches else []
        for k, items in enumerate(batches):
            try:
                batch = coming.pop().result()
            except Exception as error:
                _set_aside(spoiled, items, error)
                batch = None
            if k + 1 < len(batches):
                coming.append(ahead.submit(stages.load, batches[k + 1]))
            tools.give_way(claim)
            if batch is None:
                continue
            try:
                stages.embed(batch)
            except Exception as error:
                _set_aside(spoiled, items, error)
                continue
            while len(unwritten) >= _UNWRITTEN:
                unwritten.popleft().result()
            unwritten.append(behind.submit(in_order.do, partial(write, batch, items)))
        for writing in unwritten:
            writing.result()
    for items, cause in spoiled:
        isolate(tools, claim, stages, items, cause)


def _set_aside(
    spoiled: list[tuple[Sequence[Item], Exception]], items: Sequence[Item], error: Exception
) -> None:
    """Keep a micro-batch for ``isolate`` if its data is the cause; raise the error otherwise."""
    if not is_data_error(error):
        raise error
    spoiled.append((items, error))


class _InOrder:
    """Does one thing after another; after one that fails, nothing."""

    def __init__(self) -> None:
        self._failed = False

    def do(self, step: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            step()
        except BaseException:
            self._failed = True
            raise


def _give_up(tools: JobContext, claim: ChunkClaim, item: Item) -> None:
    text = f"The worker ended {item.attempts} times while working on this product."
    problem = Problem(item.row, item.product_id, None, "worker_lost", text)
    with tools.database.write() as session:
        tools.desk.record(session, claim, [Outcome(item, "failed", 0, [problem])])
        tools.desk.reset_attempts(session, claim)
