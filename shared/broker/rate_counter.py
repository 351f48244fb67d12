"""Limit requests per address or key and minute, counted in Redis, or in memory while it is unavailable."""

from __future__ import annotations

import time
from typing import NamedTuple

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from shared.broker.redis_clients import client_options
from shared.process.backoff import CoolDown
from shared.process.log import get_logger

log = get_logger("vitrine.web")

_COOL_DOWN_S = 5.0
_WINDOW_S = 60
#: Maximum number of windows whose ends are remembered.
_MAX_ENDS = 10_000


class RateState(NamedTuple):
    """How much of a limit is used.

    Attributes:
        limit: maximum requests per minute.
        used: requests of this minute, this one included; above ``limit`` for a refused one.
        reset_s: seconds until the count begins again, at least 1.
    """

    limit: int
    used: int
    reset_s: int

    @property
    def remaining(self) -> int:
        """Requests that are left in this minute."""
        return max(0, self.limit - self.used)

    @property
    def is_exceeded(self) -> bool:
        return self.used > self.limit


class RateCounter:
    """Counts by address in windows of one minute: searches, or sign-in attempts.

    Uses the `limits` library instead of Flask-Limiter, which answers 500 to the second of two threads that
    find Redis unavailable at the same moment.

    Args:
        redis_url: counts of all web processes together.
        per_minute: maximum of one address, unless a call names another.
        what: name of the counter; counters are independent.
    """

    def __init__(self, redis_url: str, per_minute: int, what: str = "limit") -> None:
        self._limit = RateLimitItemPerMinute(per_minute, namespace=f"vitrine-{what}")
        storage = storage_from_string(redis_url, wrap_exceptions=True, **client_options())
        self._in_redis = FixedWindowRateLimiter(storage)
        self._in_memory = FixedWindowRateLimiter(MemoryStorage())
        self._cool_down = CoolDown(_COOL_DOWN_S)
        self._ends: dict[str, float] = {}

    def count(self, address: str) -> int | None:
        """Count one request; return None, or the seconds to wait when the address is over its limit."""
        return self.tally(address)[1]

    def tally(self, address: str) -> tuple[int, int | None]:
        """Count one request; return the count of this minute, and what ``count`` returns."""
        state = self.measure(address)
        return state.used, state.reset_s if state.is_exceeded else None

    def measure(self, address: str, per_minute: int | None = None) -> RateState:
        """Count one request; return the state of the limit, which may differ from that of other addresses."""
        limit = per_minute or self._limit.amount
        if not self._cool_down.is_active():
            try:
                return self._measure(self._in_redis, address, limit)
            except StorageError:
                # A frozen Redis must not cost every request its timeout.
                self._cool_down.record_failure()
                log.warning("calls are counted in memory: the broker does not answer")
        return self._measure(self._in_memory, address, limit)

    def _measure(self, counter: FixedWindowRateLimiter, address: str, limit: int) -> RateState:
        storage, key, now = counter.storage, self._limit.key_for(address), time.time()
        count = int(storage.incr(key, self._limit.get_expiry(), amount=1))
        # The end of a window is read once per process, which saves a round trip per request.
        end = now + _WINDOW_S if count == 1 else self._ends.get(key, 0.0)
        if end <= now:
            end = storage.get_expiry(key)
        if len(self._ends) >= _MAX_ENDS:
            self._ends.clear()
        self._ends[key] = end
        return RateState(limit, count, max(1, int(end - now)))
