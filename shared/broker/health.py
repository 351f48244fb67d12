"""Probe whether the broker accepts writes; it may answer PING while it refuses every message."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum

import redis

from shared.broker.redis_clients import client_options
from shared.errors import BrokerUnavailable

#: Maximum age of a probe's result. A probe is one round trip.
REFRESH_S = 1.0
#: Maximum age of a timeout, which takes a second: a frozen broker must not delay every request.
REFRESH_AWAY_S = 3.0
#: Share of ``maxmemory`` above which no new work is accepted. Accepted work needs some memory, and close to
#: the limit a write succeeds or fails at random.
FULL_SHARE = 0.98
_KEY = "vitrine:writable"
_KEY_LIFE_S = 60
#: Text in Redis' own error.
_FULL = "maxmemory"
_MEGABYTE = 2**20


class BrokerState(StrEnum):
    """Reaction of the broker to a write."""

    WRITABLE = "writable"
    #: Refuses writes: memory or disk full, or read-only. An administrator has to act.
    REFUSING = "refusing"
    #: Does not answer: restarting, frozen or stopped.
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class BrokerReport:
    """The result of one probe.

    Attributes:
        message: ``ok``, or the error.
        accepts_writes: whether the probe's write succeeded. It may succeed in a nearly full broker, whose
            state is ``REFUSING``; workers then continue and free memory.
        used_bytes: memory in use, 0 if unknown.
        max_bytes: ``maxmemory``, 0 if there is no limit or it is unknown.
    """

    state: BrokerState
    message: str
    accepts_writes: bool = False
    used_bytes: int = 0
    max_bytes: int = 0


class BrokerHealth:
    """Probes the broker by a small write, and caches the result. Thread-safe.

    Args:
        redis_url: the broker.
    """

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, **client_options())
        self._lock = threading.Lock()
        self._report = BrokerReport(BrokerState.WRITABLE, "ok", True)
        self._stale_at = 0.0

    def report(self) -> BrokerReport:
        """Return a result that is at most ``REFRESH_S`` old, or ``REFRESH_AWAY_S`` after a timeout.

        One thread probes at a time; concurrent callers get the previous result.
        """
        if time.monotonic() < self._stale_at or not self._lock.acquire(blocking=self._stale_at == 0.0):
            return self._report
        try:
            if time.monotonic() >= self._stale_at:
                self._report = self._probe()
                away = self._report.state is BrokerState.AWAY
                self._stale_at = time.monotonic() + (REFRESH_AWAY_S if away else REFRESH_S)
            return self._report
        finally:
            self._lock.release()

    def expire(self) -> None:
        """Probe again at the next call, after a failed publish."""
        self._stale_at = min(self._stale_at, time.monotonic())

    def check(self) -> None:
        """Raise BrokerUnavailable unless the broker accepts writes."""
        report = self.report()
        if report.state is not BrokerState.WRITABLE:
            raise BrokerUnavailable(report.message)

    def require_writable(self) -> None:
        """Raise BrokerUnavailable if the broker refuses writes.

        An unavailable broker is accepted, because it is usually restarting, and the maintenance process
        publishes the work that is accepted until then.
        """
        report = self.report()
        if report.state is BrokerState.REFUSING:
            raise BrokerUnavailable(f"The broker accepts no work ({report.message}). Try again later.")

    def _probe(self) -> BrokerReport:
        refused: str | None = None
        try:
            try:
                self._client.set(_KEY, "1", ex=_KEY_LIFE_S)
            except redis.exceptions.ResponseError as error:
                refused = str(error)
            used, limit = self._memory()
        except (redis.RedisError, OSError) as error:
            return BrokerReport(BrokerState.AWAY, f"The broker did not answer: {type(error).__name__}")
        passed = refused is None
        if refused is None and limit and used > FULL_SHARE * limit:
            refused = _FULL
        if refused is None:
            return BrokerReport(BrokerState.WRITABLE, "ok", passed, used, limit)
        return BrokerReport(BrokerState.REFUSING, _refusal(refused, used, limit), passed, used, limit)

    def _memory(self) -> tuple[int, int]:
        """Return used and maximum bytes; zeros without permission for INFO."""
        try:
            found = self._client.info("memory")
        except redis.exceptions.ResponseError:
            return 0, 0
        return int(found.get("used_memory", 0)), int(found.get("maxmemory", 0))


def _refusal(reason: str, used: int, limit: int) -> str:
    """Return a short reason for a refused write."""
    if _FULL in reason:
        full = f", {used / _MEGABYTE:.0f} of {limit / _MEGABYTE:.0f} MB used" if limit else ""
        return f"not writable{full}: raise maxmemory"
    if "read only replica" in reason:
        return "not writable: it is a read-only replica"
    return f"not writable: {reason}"
