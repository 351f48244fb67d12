"""Note in memory when keys and sessions were used, and store it at most once a minute each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from shared.database.clock import now_s

#: Minimum time between two writes of one id.
USE_INTERVAL_S = 60.0


class UseNotes:
    """Collects the last uses, which a background thread stores: no request waits for the write.

    Args:
        write: stores times in seconds since 1970 by id.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, write: Callable[[Mapping[str, float]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._used_at: dict[str, float] = {}
        self._written_at: dict[str, float] = {}

    def note(self, id_: str) -> None:
        """Note that an id was used now."""
        self._used_at[id_] = now_s()

    def last_use(self, id_: str) -> float:
        """Return when an id was last used in this process; 0 if that is stored, or it was not."""
        return self._used_at.get(id_, 0.0)

    def store(self) -> None:
        """Store the uses of each id that was not stored in the last minute."""
        now = self._clock()
        due = {
            id_: used
            for id_, used in list(self._used_at.items())
            if now - self._written_at.get(id_, float("-inf")) >= USE_INTERVAL_S
        }
        if not due:
            return
        self._write(due)
        for id_, used in due.items():
            self._written_at[id_] = now
            if self._used_at.get(id_) == used:
                del self._used_at[id_]
