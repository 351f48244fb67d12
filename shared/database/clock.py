"""Return the time of the database server without a round trip, for times that hosts compare.

Leases, heartbeats, back-off and expiry are written by one host and read by another. With the hosts' own
clocks, a maintenance process that was 45 s ahead put back 20 of 100 searches that workers were processing.
Therefore every process measures the offset of the server's clock from its own monotonic clock. A jump of the
host's wall clock then has no effect.

SQLite has no server: all its processes run on one host and share that host's clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

#: Interval after which the next transaction measures the server's clock again.
MEASURE_INTERVAL_S: Final = 5.0


class DatabaseClock:
    """Follows the clock of a database server.

    Args:
        connect: opens a connection whose first transaction calls ``measure``; called when the time is needed
            before any transaction.
    """

    def __init__(self, connect: Callable[[], object]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._offset_s: float | None = None
        self._measured_at = float("-inf")

    def now_s(self) -> float:
        """Return seconds since 1970 by the server's clock.

        Raises:
            DatabaseUnavailable: the clock was never measured, and the server does not answer.
        """
        if self._offset_s is None:
            self._connect()
        assert self._offset_s is not None, "the first transaction measures"
        return time.monotonic() + self._offset_s

    def skew_s(self) -> float:
        """Return the seconds that this host's wall clock is ahead of the server's."""
        return time.time() - self.now_s()

    def is_due(self) -> bool:
        """Return whether the next transaction is to measure."""
        return time.monotonic() - self._measured_at >= MEASURE_INTERVAL_S

    def measure(self, read_server_s: Callable[[], float]) -> None:
        """Measure the offset of the clocks.

        The server reads its clock at some moment during the call, so the call bounds the offset on both
        sides. An offset within the bounds is kept, because a slow answer does not contradict it.
        """
        sent_at = time.monotonic()
        server_s = read_server_s()
        received_at = time.monotonic()
        low, high = server_s - received_at, server_s - sent_at
        with self._lock:
            known = self._offset_s if self._offset_s is not None else (low + high) / 2
            self._offset_s = min(max(known, low), high)
            self._measured_at = received_at


class HostClock:
    """This host's wall clock."""

    def now_s(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def skew_s(self) -> float:
        """Return 0, because the host is compared with itself."""
        return 0.0


Clock = DatabaseClock | HostClock

_HOST: Final = HostClock()
# One clock per process, because a process works with one database.
_followed: Clock = _HOST


def follow(clock: Clock | None) -> None:
    """Let ``now_s`` use this clock; None: the host's."""
    global _followed
    _followed = clock or _HOST


def unfollow(clock: Clock) -> None:
    """Let ``now_s`` use the host's clock again if it uses this one, whose database is closed."""
    if _followed is clock:
        follow(None)


def now_s() -> float:
    """Return seconds since 1970 by the database's clock, for all times that are stored or compared."""
    return _followed.now_s()


def skew_s() -> float:
    """Return the seconds that this host's wall clock is ahead of the database's."""
    return _followed.skew_s()


def to_datetime(seconds: float | None) -> datetime | None:
    """Convert seconds since 1970 to a UTC datetime."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
