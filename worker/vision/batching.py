"""Run work in batches that shrink when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from shared.errors import OutOfMemory

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_batches(
    call: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    size: int,
    pause: Callable[[], None] | None = None,
) -> list[Result]:
    """Call with at most ``size`` items at a time; return one result per item, in order.

    A batch that ends in ``MemoryError`` is retried in halves, so that the process survives and only an item
    that does not fit alone fails. Later batches keep the smaller size.

    Args:
        call: takes items, returns as many results.
        pause: called between two batches, where bulk work gives way to searches.

    Raises:
        OutOfMemory: a single item does not fit.
    """
    results: list[Result] = []
    while len(results) < len(items):
        if results and pause is not None:
            pause()
        batch = items[len(results) : len(results) + size]
        try:
            results.extend(call(batch))
        except MemoryError as error:
            if len(batch) == 1:
                raise OutOfMemory(
                    f"Not enough memory for picture {len(results) + 1} of {len(items)} alone: "
                    "retry later, or give the worker more memory."
                ) from error
            size = len(batch) // 2
            log.warning("out of memory with a batch of %d: retrying with %d", len(batch), size)
    return results
