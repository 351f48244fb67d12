"""Renewal of a chunk's lease during a slow micro-batch; kills a worker that hangs."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType

from shared.errors import VitrineError
from shared.jobs.queue import JobQueue
from shared.jobs.work import ChunkClaim

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews the lease at a third of its length, from a thread, while the work makes progress.

    The thread would keep the lease of a model call that never returns. So it stops when nothing was recorded
    for ``hang_s``, and kills the process: the lease then expires, or the next process takes the chunk over.

    Args:
        on_hang: called once when the work hangs; the process is killed if it is left out.
        interval_s: time between two beats; a third of the lease if it is left out.
    """

    def __init__(
        self,
        desk: JobQueue,
        claim: ChunkClaim,
        hang_s: float,
        on_hang: Callable[[], None] | None = None,
        interval_s: float | None = None,
    ) -> None:
        self._desk = desk
        self._claim = claim
        self._hang_s = hang_s
        self._on_hang = on_hang or _end_this_process
        self._interval_s = interval_s or min(desk.lease_s, hang_s) / 3
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._done.wait(self._interval_s):
            silent_s = time.monotonic() - self._desk.progress_at
            if silent_s > self._hang_s:
                log.critical("chunk %s recorded nothing for %.0f s: it hangs", self._claim.id, silent_s)
                self._on_hang()
                return
            try:
                if not self._desk.renew(self._claim):
                    return  # paused, cancelled or taken over: recording raises LostLease
            except VitrineError as error:
                log.warning("lease of chunk %s not renewed: %s", self._claim.id, error.message)


def _end_this_process() -> None:
    """Kill this process: no exception reaches a thread that is stuck in a library."""
    os.kill(os.getpid(), signal.SIGKILL)
