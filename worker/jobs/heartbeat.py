"""A sign of life from a step of a job that takes long."""

from __future__ import annotations

import time

from shared.jobs.work import ChunkClaim
from worker.products.context import JobContext

_EVERY_S = 1.0


class Pulse:
    """To be called often: now and then it renews the lease, and lets go first what somebody waits for.

    Raises, when it is called:
        LostLease, WorkerStopping: drop the work at hand.
    """

    def __init__(self, tools: JobContext, claim: ChunkClaim) -> None:
        self._tools = tools
        self._claim = claim
        self._felt_at = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._felt_at < _EVERY_S:
            return
        with self._tools.database.write() as session:
            self._tools.desk.renew_lease(session, self._claim)
        self._tools.give_way(self._claim)
        self._felt_at = time.monotonic()
