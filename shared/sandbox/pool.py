"""A pool of warm sandbox children; one request at a time each, lost ones are replaced."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from functools import cache
from typing import Final

from shared.errors import ImageTooLarge, OutOfMemory, Overloaded
from shared.process.log import get_logger
from shared.sandbox.budget import TOO_EXPENSIVE, Budget
from shared.sandbox.process import Child, ChildLost
from shared.sandbox.protocol import Body, Head, raise_error

log = get_logger("vitrine.sandbox")

#: Below this share of its processor time, a child that missed its deadline was held up by other work.
_STARVED_SHARE: Final = 0.5
#: Ended from outside: the kernel when memory runs out, or a person. Not by what was decoded.
_FROM_OUTSIDE: Final = frozenset((signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
#: A burst of ordinary photos has passed by then: one takes 20 ms.
_QUEUE_WAIT_S: Final = 0.15
_BUSY: Final = "All decoders are busy with other pictures. Try again shortly."


class ChildPool:
    """Safe for many threads. Children start when they are first needed, or in ``warm_up``.

    Args:
        size: children, and so pictures decoded at the same time.
        max_waiting: threads that may wait for a child; further ones wait for their turn to wait, and much
            shorter, so that the threads of a web server are never all held up. None lets all wait.
    """

    def __init__(self, size: int, max_waiting: int | None = None, start: Callable[[], Child] = Child) -> None:
        self.size = size
        self._start = start
        self._waiting = None if max_waiting is None else threading.BoundedSemaphore(size + max_waiting)
        self._free = threading.BoundedSemaphore(size)
        # The last one used is used next: its memory is warm.
        self._idle: list[Child] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._starting, self._first = threading.Lock(), threading.Lock()
        self._is_warm = False

    def warm_up(self) -> None:
        """Start all children and wait until they are ready.

        Raises:
            Unavailable: they do not start.
        """
        with self._starting:
            with self._lock:
                self._idle += [self._start() for _ in range(self.size - len(self._idle))]
                idle = list(self._idle)
            for child in idle:
                child.wait_ready()
            self._is_warm = True

    def _warm_up_once(self) -> None:
        with self._first:
            if not self._is_warm:
                self.warm_up()

    def run(
        self, head: Head, body: bytes, budget: Budget, wait_s: float, max_body_bytes: int
    ) -> tuple[Head, Body]:
        """Have a child do one request.

        Args:
            wait_s: how long to wait for a child that is free.
            max_body_bytes: of the answer.

        Raises:
            Overloaded: no child was free in time, or none got enough processor time.
            ImageTooLarge: the picture is over its budget; its child was killed.
            OutOfMemory: the machine had no memory left for the child, twice.
            VitrineError: what the child found wrong with the picture.
        """
        if not self._is_warm:
            # The first requests of a process wait for its children: they are no sign of overload.
            self._warm_up_once()
        if self._waiting is not None and not self._waiting.acquire(timeout=min(wait_s, _QUEUE_WAIT_S)):
            raise Overloaded(_BUSY)
        try:
            return self._run(head, body, budget, wait_s, max_body_bytes)
        finally:
            if self._waiting is not None:
                self._waiting.release()

    def _run(
        self, head: Head, body: bytes, budget: Budget, wait_s: float, max_body_bytes: int
    ) -> tuple[Head, Body]:
        if not self._free.acquire(timeout=wait_s):
            raise Overloaded(_BUSY)
        try:
            try:
                head, body_out = self._call(head, body, budget, max_body_bytes)
            except ChildLost as lost:
                if lost.signal not in _FROM_OUTSIDE:
                    raise
                # It may have died of another picture's fault, or of nobody's: once more, in a new one.
                head, body_out = self._call(head, body, budget, max_body_bytes)
        except ChildLost as lost:
            raise self._as_error(lost, budget) from lost
        finally:
            self._free.release()
        raise_error(head)
        return head, body_out

    def _call(self, head: Head, body: bytes, budget: Budget, max_body_bytes: int) -> tuple[Head, Body]:
        child = self._take()
        kept = False
        try:
            answer = child.call(head, body, budget, max_body_bytes)
            kept = True
            return answer
        finally:
            if not kept:
                child.kill()
                # At once, so that it is warm when the next picture comes.
                child = self._start()
            with self._lock:
                self._idle.append(child)

    def _take(self) -> Child:
        with self._lock:
            if self._owner != os.getpid():
                # After a fork the children are another process's.
                self._idle, self._owner = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        return self._start()

    def _as_error(self, lost: ChildLost, budget: Budget) -> Exception:
        log.warning("a decoder was replaced", signal=lost.signal, cpu_s=round(lost.cpu_s, 2))
        if lost.signal in _FROM_OUTSIDE:
            return OutOfMemory("There is no memory left to read this picture: try again in a minute.")
        if lost.signal == 0 and lost.cpu_s < _STARVED_SHARE * budget.cpu_s:
            return Overloaded("This machine is too busy to decode the picture. Try again shortly.")
        return ImageTooLarge(TOO_EXPENSIVE)

    def pids(self) -> list[int]:
        """Return the process ids of the idle children."""
        with self._lock:
            return [child.pid for child in self._idle]

    def close(self) -> None:
        """End the idle children; those at work end with this process."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():
            for child in idle:
                child.kill()


@cache
def shared_pool(size: int, max_waiting: int | None = None) -> ChildPool:
    """Return this process's pool of that size; it ends with the process."""
    pool = ChildPool(size, max_waiting)
    atexit.register(pool.close)
    return pool
