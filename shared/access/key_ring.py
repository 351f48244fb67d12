"""Cache API keys for the checks of requests, and note when they were used."""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.access.keys import KeyRecord, KeyRepository
from shared.access.secret import parse_prefix
from shared.database.clock import now_s

#: How long a key and the list of origins are cached. A revocation acts in every process within 5 s.
CACHE_TTL_S = 2.0
#: Minimum time between two writes of a key's last use.
USE_INTERVAL_S = 60.0


class KeyRing:
    """Finds keys with one cached look-up per request.

    Unknown keys are not cached, so that a new key works at once in every process. Their number is limited by
    ``WrongKeys``.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, keys: KeyRepository, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._cached: dict[str, tuple[float, KeyRecord]] = {}
        self._origins: tuple[float, frozenset[str]] = (float("-inf"), frozenset())
        self._used_at: dict[str, float] = {}
        self._written_at: dict[str, float] = {}

    def find(self, offered: str) -> KeyRecord | None:
        """Return the key that was offered, also an expired or revoked one; None for an unknown one.

        Raises:
            DatabaseUnavailable: it is not cached, and the database does not answer.
        """
        prefix = parse_prefix(offered)
        if prefix is None:
            return None
        until, record = self._cached.get(prefix, (float("-inf"), None))
        if record is None or until <= self._clock():
            record = self._keys.find(prefix)
            if record is None:
                self._cached.pop(prefix, None)
                return None
            self._cached[prefix] = (self._clock() + CACHE_TTL_S, record)
        return record if record.matches(offered) else None

    def live_origins(self) -> frozenset[str]:
        """Return the origins that live keys list."""
        until, origins = self._origins
        if until <= self._clock():
            origins = self._keys.live_origins()
            self._origins = (self._clock() + CACHE_TTL_S, origins)
        return origins

    def forget(self) -> None:
        """Drop the cache after a change of keys in this process."""
        self._cached.clear()
        self._origins = (float("-inf"), frozenset())

    def note_use(self, prefix: str) -> None:
        """Note in memory that a key was used now."""
        self._used_at[prefix] = now_s()

    def write_uses(self) -> None:
        """Store the last use of each key that was not stored in the last minute; for a background thread."""
        now = self._clock()
        due = {
            prefix: used
            for prefix, used in list(self._used_at.items())
            if now - self._written_at.get(prefix, float("-inf")) >= USE_INTERVAL_S
        }
        if not due:
            return
        self._keys.write_last_uses(due)
        for prefix, used in due.items():
            self._written_at[prefix] = now
            if self._used_at.get(prefix) == used:
                del self._used_at[prefix]
