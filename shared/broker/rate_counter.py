"""What an address may ask for in a minute: counted in Redis, in memory while Redis is away."""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from shared.broker.redis_clients import client_options
from shared.process.log import get_logger

log = get_logger("vitrine.web")

_REST_S = 5.0


class RateCounter:
    """Counts by address in windows of one minute: searches, or tries to sign in.

    Written on the `limits` library and not with Flask-Limiter, which answers 500 to the second of
    two threads that find Redis away at the same moment.

    Args:
        redis_url: where all web processes count together.
        per_minute: most of one address.
        what: is counted; each by itself.
    """

    def __init__(self, redis_url: str, per_minute: int, what: str = "limit") -> None:
        self._limit = RateLimitItemPerMinute(per_minute, namespace=f"vitrine-{what}")
        storage = storage_from_string(redis_url, wrap_exceptions=True, **client_options())
        self._together = FixedWindowRateLimiter(storage)
        self._alone = FixedWindowRateLimiter(MemoryStorage())
        self._rest_until = 0.0

    def count(self, address: str) -> int | None:
        """Count one; return None, or the seconds to wait when this address has had its share."""
        return self.tally(address)[1]

    def tally(self, address: str) -> tuple[int, int | None]:
        """Count one; return the count of this minute, and as ``count``."""
        if time.monotonic() >= self._rest_until:
            try:
                return self._tally(self._together, address)
            except StorageError:
                # A frozen Redis costs its timeout now and then, not with every request.
                self._rest_until = time.monotonic() + _REST_S
                log.warning("calls are counted in memory: the broker does not answer")
        return self._tally(self._alone, address)

    def _tally(self, counter: FixedWindowRateLimiter, address: str) -> tuple[int, int | None]:
        storage, key = counter.storage, self._limit.key_for(address)
        count = int(storage.incr(key, self._limit.get_expiry(), amount=1))
        if count <= self._limit.amount:
            return count, None
        return count, max(1, int(storage.get_expiry(key) - time.time()))
