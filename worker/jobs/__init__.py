"""Kinds of catalogue jobs: one class each, in a module of its own.

The lane claims chunks, renews leases and handles errors; a kind only lists the items, does them, and ends
the job. Each step may be repeated after a crash, so each must be idempotent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from shared.jobs.work import ChunkClaim, Item, Problem


class Once:
    """A kind of job without items: its last step does everything."""

    finishes = True

    def plan(self, claim: ChunkClaim) -> Iterable[Item | Problem]:
        return ()

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        """Do nothing: there are no items."""


class JobKind(Protocol):
    """A kind of job, made once a process with its ``JobContext``.

    Raises, from each method:
        LostLease, WorkerStopping, JobPreempted: drop the current work; raised by ``desk`` and ``give_way``.
        Unavailable: the chunk is put back and tried again after a while.
        VitrineError: the job fails with it. Anything else: the chunk is tried again, four times in all.
    """

    #: Whether ``finish`` is called, in a chunk of its own, when all items are done.
    finishes: bool

    def plan(self, claim: ChunkClaim) -> Iterable[Item | Problem]:
        """Yield the job's items, and the problems of rows that cannot be done."""
        ...

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        """Do items, and record each with ``desk.record`` in the transaction that writes it."""
        ...

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """End the job; return its report.

        A step that records nothing for minutes calls ``give_way`` periodically: a worker that reports no
        progress for ``jobs.hang_s`` counts as hung and is replaced.
        """
        ...
