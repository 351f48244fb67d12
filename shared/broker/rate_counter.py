"""Limit requests per address and minute, counted in Redis, or in memory while Redis is unavailable."""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from shared.broker.redis_clients import client_options
from shared.process.backoff import CoolDown
from shared.process.log import get_logger

log = get_logger("vitrine.web")

_COOL_DOWN_S = 5.0


class RateCounter:
    """Counts by address in windows of one minute: searches, or sign-in attempts.

    Uses the `limits` library instead of Flask-Limiter, which answers 500 to the second of two threads that
    find Redis unavailable at the same moment.

    Args:
        redis_url: counts of all web processes together.
        per_minute: maximum of one address.
        what: name of the counter; counters are independent.
    """

    def __init__(self, redis_url: str, per_minute: int, what: str = "limit") -> None:
        self._limit = RateLimitItemPerMinute(per_minute, namespace=f"vitrine-{what}")
        storage = storage_from_string(redis_url, wrap_exceptions=True, **client_options())
        self._in_redis = FixedWindowRateLimiter(storage)
        self._in_memory = FixedWindowRateLimiter(MemoryStorage())
        self._cool_down = CoolDown(_COOL_DOWN_S)

    def count(self, address: str) -> int | None:
        """Count one request; return None, or the seconds to wait when the address is over its limit."""
        return self.tally(address)[1]

    def tally(self, address: str) -> tuple[int, int | None]:
        """Count one request; return the count of this minute, and what ``count`` returns."""
        if not self._cool_down.is_active():
            try:
                return self._tally(self._in_redis, address)
            except StorageError:
                # A frozen Redis must not cost every request its timeout.
                self._cool_down.record_failure()
                log.warning("calls are counted in memory: the broker does not answer")
        return self._tally(self._in_memory, address)

    def _tally(self, counter: FixedWindowRateLimiter, address: str) -> tuple[int, int | None]:
        storage, key = counter.storage, self._limit.key_for(address)
        count = int(storage.incr(key, self._limit.get_expiry(), amount=1))
        if count <= self._limit.amount:
            return count, None
        return count, max(1, int(storage.get_expiry(key) - time.time()))
