"""The clock by which hosts compare times: the database server's, read without a round trip.

Leases, heartbeats, back-off and expiry are written by one host and read by another. By the hosts' own
clocks, a maintenance process 45 s ahead put back 20 of 100 searches that were being answered. So every
process measures how far the server's clock is from its own monotonic one, and adds that offset. A jump of
the host's wall clock then changes nothing.

SQLite has no server: all its processes run on one host and share that host's clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

#: The server's clock is asked again after this time, by the next transaction.
MEASURE_INTERVAL_S: Final = 5.0


class DatabaseClock:
    """Follows the clock of a database server.

    Args:
        ask: opens a connection, whose first transaction calls ``measure``; called when the time is needed
            before any transaction.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._offset_s: float | None = None
        self._measured_at = float("-inf")

    def now_s(self) -> float:
        """Return seconds since 1970 by the server's clock.

        Raises:
            DatabaseUnavailable: it was never measured, and the server does not answer.
        """
        if self._offset_s is None:
            self._ask()
        assert self._offset_s is not None, "the first transaction measures"
        return time.monotonic() + self._offset_s

    def skew_s(self) -> float:
        """Return by how many seconds this host's wall clock is ahead of the server's."""
        return time.time() - self.now_s()

    def is_due(self) -> bool:
        """Whether the next transaction is to measure."""
        return time.monotonic() - self._measured_at >= MEASURE_INTERVAL_S

    def measure(self, read_server_s: Callable[[], float]) -> None:
        """Compare the clocks.

        The server read its clock at some moment of the call, so the call bounds the offset from both
        sides. An offset within the bounds is kept: a slow answer proves nothing against it.
        """
        asked_at = time.monotonic()
        server_s = read_server_s()
        answered_at = time.monotonic()
        low, high = server_s - answered_at, server_s - asked_at
        with self._lock:
            known = self._offset_s if self._offset_s is not None else (low + high) / 2
            self._offset_s = min(max(known, low), high)
            self._measured_at = answered_at


class HostClock:
    """This host's wall clock."""

    def now_s(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def skew_s(self) -> float:
        """Return 0: the host is compared with itself."""
        return 0.0


Clock = DatabaseClock | HostClock

_HOST: Final = HostClock()
# One for the whole process, as a process works with one database.
_followed: Clock = _HOST


def follow(clock: Clock | None) -> None:
    """Make ``now_s`` tell the time of this clock; None: of the host's."""
    global _followed
    _followed = clock or _HOST


def unfollow(clock: Clock) -> None:
    """Return to the host's clock if this one is followed: its database is closed."""
    if _followed is clock:
        follow(None)


def now_s() -> float:
    """Return seconds since 1970 by the database's clock: for every time that is stored or compared."""
    return _followed.now_s()


def skew_s() -> float:
    """Return by how many seconds this host's wall clock is ahead of the database's."""
    return _followed.skew_s()


def to_datetime(seconds: float | None) -> datetime | None:
    """Turn ledger time into a UTC datetime."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
