"""A chunk's items in micro-batches, through three stages that overlap: load, embed, write."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from shared.ledger.work import ChunkClaim, Item, Outcome, Problem
from worker.jobs import Tools

Batch = TypeVar("Batch")


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


def do_items(tools: Tools, claim: ChunkClaim, items: Sequence[Item], stages: Stages[Batch]) -> None:
    """Take items through the stages, and find out one that kills the process.

    Raises:
        LostLease: the chunk went to another worker; nothing was written after that.
        Anything that a stage raises.
    """
    if claim.attempts == 1:
        size = tools.micro_batch
        _overlapped(tools, claim, [items[i : i + size] for i in range(0, len(items), size)], stages)
        return
    # A chunk that was tried before is done product by product, so that one which kills the process is
    # found out and the others get done.
    for item in items:
        tools.give_way(claim)
        if tools.desk.blame(claim, item) > 2:
            _give_up(tools, claim, item)
        else:
            batch = stages.load([item])
            stages.embed(batch)
            stages.write(batch)


def _overlapped(
    tools: Tools, claim: ChunkClaim, groups: Sequence[Sequence[Item]], stages: Stages[Batch]
) -> None:
    """At most three micro-batches are in memory: one loaded ahead, one embedded, one written."""
    writing: Future[None] | None = None
    with ThreadPoolExecutor(1, "ahead") as ahead, ThreadPoolExecutor(1, "behind") as behind:
        coming = ahead.submit(stages.load, groups[0]) if groups else None
        for following in [*groups[1:], None]:
            if coming is None:
                break
            batch = coming.result()
            coming = None if following is None else ahead.submit(stages.load, following)
            tools.give_way(claim)
            stages.embed(batch)
            if writing is not None:
                writing.result()
            writing = behind.submit(stages.write, batch)
        if writing is not None:
            writing.result()


def _give_up(tools: Tools, claim: ChunkClaim, item: Item) -> None:
    text = f"The worker ended {item.attempts} times while working on this product."
    problem = Problem(item.row, item.product_id, None, "worker_lost", text)
    with tools.database.write() as session:
        tools.desk.record(session, claim, [Outcome(item, "failed", 0, [problem])])
        tools.desk.forgive(session, claim)
