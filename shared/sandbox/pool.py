"""Run the operations of ``shared.images`` in a pool of warm sandbox children; lost ones are replaced."""

from __future__ import annotations

import atexit
import dataclasses
import os
import signal
import threading
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageTooLarge, OutOfMemory, Overloaded
from shared.images import ImageInfo, ImageLimits, NormalisedImage
from shared.process.log import get_logger
from shared.sandbox.budget import TOO_EXPENSIVE, Budget
from shared.sandbox.process import Child, ChildLost
from shared.sandbox.protocol import Body, Head, raise_error

log = get_logger("vitrine.sandbox")

#: Share of its processor time below which a child that missed its deadline was starved by other processes.
_STARVED_SHARE: Final = 0.5
#: Signals from outside, such as from the out-of-memory killer or an administrator, not caused by the input.
_FROM_OUTSIDE: Final = frozenset((signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
#: Time in which a burst of ordinary photos, of 20 ms each, is decoded.
_QUEUE_WAIT_S: Final = 0.15
#: Maximum size of an encoded answer: a rendition or a normalised photo.
_MAX_FILE_BYTES: Final = 64 * 2**20
_BUSY: Final = "All decoders are busy with other pictures. Try again shortly."


class ChildPool:
    """A pool of children, which start at the first use or in ``warm_up``. Safe for many threads.

    Args:
        size: number of children, and of pictures decoded concurrently.
        max_waiting: maximum number of threads that wait for a child. Further threads wait only briefly, so
            that the threads of a web server are never all blocked. None: no limit.
    """

    def __init__(self, size: int, max_waiting: int | None = None) -> None:
        self.size = size
        self._waiting = None if max_waiting is None else threading.BoundedSemaphore(size + max_waiting)
        self._free = threading.BoundedSemaphore(size)
        # LIFO, because the last used child has the warmest memory.
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
                self._idle += [Child() for _ in range(self.size - len(self._idle))]
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
        """Run one request in a child.

        Args:
            wait_s: maximum wait for a free child.
            max_body_bytes: maximum size of the answer.

        Raises:
            Overloaded: no child was free in time, or it got too little processor time.
            ImageTooLarge: the picture exceeded its budget; its child was killed.
            OutOfMemory: the machine had no memory left for the child, twice.
            VitrineError: the error of the picture from the child.
        """
        if not self._is_warm:
            # The first requests of a process wait for its children to start, which is no overload.
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
                # The picture may not be the cause: retry once in a new child.
                head, body_out = self._call(head, body, budget, max_body_bytes)
        except ChildLost as lost:
            raise self._as_error(lost, budget) from lost
        finally:
            self._free.release()
        raise_error(head)
        return head, body_out

    def _call(self, head: Head, body: bytes, budget: Budget, max_body_bytes: int) -> tuple[Head, Body]:
        child = self._take()
        is_reusable = False
        try:
            answer = child.call(head, body, budget, max_body_bytes)
            is_reusable = True
            return answer
        finally:
            if not is_reusable:
                child.kill()
                # Started immediately, so that it is warm for the next picture.
                child = Child()
            with self._lock:
                self._idle.append(child)

    def _take(self) -> Child:
        with self._lock:
            if self._owner != os.getpid():
                # After a fork, the children belong to the parent.
                self._idle, self._owner = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        return Child()

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
        """Kill the idle children; busy ones end with this process."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():
            for child in idle:
                child.kill()


@cache
def shared_pool(size: int, max_waiting: int | None = None) -> ChildPool:
    """Return this process's pool of this size; it is closed at exit."""
    pool = ChildPool(size, max_waiting)
    atexit.register(pool.close)
    return pool


class PictureSandbox:
    """Decodes pictures of one kind, such as shoppers' photos. Safe for many threads.

    Args:
        limits: limits of the pictures.
        budget: limits of decoding one picture.
        wait_s: maximum wait for a free child before Overloaded.
    """

    def __init__(self, pool: ChildPool, limits: ImageLimits, budget: Budget, wait_s: float) -> None:
        self.limits = limits
        self._pool = pool
        self._budget = budget
        self._wait_s = wait_s
        self._limits = {**dataclasses.asdict(limits), "formats": sorted(limits.formats)}

    def warm_up(self) -> None:
        """Start the children. Raises Unavailable if they do not start."""
        self._pool.warm_up()

    def probe(self, data: bytes) -> ImageInfo:
        """Read the header only, as ``shared.images.probe``.

        Raises:
            UnsupportedFormat, ImageTooLarge, UndecodableImage: as ``shared.images.probe``.
            Overloaded: no child was free in time.
        """
        head, _ = self._run("probe", data, 0)
        return ImageInfo(**head["info"])

    def decode(self, data: bytes, min_side_needed_px: int | None = None) -> NDArray[np.uint8]:
        """Decode to ``(H, W, 3) uint8`` RGB, as ``shared.images.decode``. Raises as ``probe``."""
        most = max(self.limits.max_pixels, self.limits.max_jpeg_pixels)
        head, body = self._run("decode", data, 3 * most, min_side_needed_px=min_side_needed_px)
        return body.reshape(head["shape"])

    def normalise(self, data: bytes, max_side_px: int, max_bytes: int) -> NormalisedImage:
        """Return the picture to store, as ``shared.images.normalise``. Raises as ``probe``."""
        head, body = self._run(
            "normalise", data, _MAX_FILE_BYTES, max_side_px=max_side_px, max_bytes=max_bytes
        )
        return NormalisedImage(body.tobytes(), head["width"], head["height"], head["source_format"])

    def rendition(self, data: bytes, max_side_px: int, format: Literal["WEBP", "JPEG"] = "WEBP") -> bytes:
        """Return a smaller copy for a page, as ``shared.images.rendition``. Raises as ``probe``."""
        _, body = self._run("rendition", data, _MAX_FILE_BYTES, max_side_px=max_side_px, format=format)
        return body.tobytes()

    def _run(
        self, op: str, data: bytes, max_body_bytes: int, **options: object
    ) -> tuple[Head, NDArray[np.uint8]]:
        head = {"op": op, "limits": self._limits, **options}
        return self._pool.run(head, data, self._budget, self._wait_s, max_body_bytes)
