"""Know when Milvus is away, so that an outage costs its length and no more.

Chunks that fail one after another in a blink do not add up: the delay grows with the time since the first
failure. While Milvus does not answer at all, no chunk is claimed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.process.backoff import CoolDown

#: Minimum and maximum delay before a chunk of a bulk job is tried again, and maximum of a single update.
MIN_DELAY_S, MAX_BULK_DELAY_S, MAX_SINGLE_DELAY_S = 1.0, 30.0, 2.0
#: Minimum interval of probes.
_PROBE_INTERVAL_S = 0.5


class Outage:
    """The outage that this process saw last, from its first failure to the next chunk that succeeds.

    Args:
        is_answering: probes Milvus; takes 2 s at most.
        clock: returns monotonic seconds.
    """

    def __init__(self, is_answering: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._is_answering = is_answering
        self._clock = clock
        self._began_at: float | None = None
        self._is_away = False
        self._probed = CoolDown(_PROBE_INTERVAL_S, clock=clock)

    def record_failure(self) -> None:
        """Note that a call failed; Milvus is probed before the next claim."""
        if self._began_at is None:
            self._began_at = self._clock()
        self._is_away = True

    def record_success(self) -> None:
        """Note that a chunk was done, or that none is left: the outage is over."""
        self._began_at, self._is_away = None, False

    def delay_s(self, *, is_single: bool) -> float:
        """Return the delay of a chunk that failed now: the length of the outage, within bounds."""
        length_s = 0.0 if self._began_at is None else self._clock() - self._began_at
        return min(max(length_s, MIN_DELAY_S), MAX_SINGLE_DELAY_S if is_single else MAX_BULK_DELAY_S)

    def is_away(self) -> bool:
        """Return whether Milvus does not answer, as far as this process knows."""
        if self._is_away and not self._probed.is_active():
            self._is_away = not self._is_answering()
            self._probed.record_failure()
        return self._is_away
