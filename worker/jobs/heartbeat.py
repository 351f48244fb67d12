"""Heartbeat of a long step of a job."""

from __future__ import annotations

import time

from shared.jobs.work import ChunkClaim
from worker.products.context import JobContext

_INTERVAL_S = 1.0


class Pulse:
    """Callable for tight loops: renews the lease and gives way, at most once per interval.

    Raises, when it is called:
        LostLease, WorkerStopping: drop the current work.
    """

    def __init__(self, context: JobContext, claim: ChunkClaim) -> None:
        self._context = context
        self._claim = claim
        self._beat_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._beat_at < _INTERVAL_S:
            return
        with self._context.database.write() as session:
            self._context.desk.renew_lease(session, self._claim)
        self._context.give_way(self._claim)
        self._beat_at = time.monotonic()
