"""Whether the broker takes writes: it may answer PING for hours while it refuses every message."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum

import redis

from shared.broker.redis_clients import client_options
from shared.errors import BrokerUnavailable

#: Age from which a result is probed again. A probe is one round trip.
REFRESH_S = 1.0
#: The same after a timeout, which costs a second: a frozen broker must not delay every request.
REFRESH_AWAY_S = 3.0
#: Share of ``maxmemory`` above which no new work is accepted: what was accepted needs some room on its way,
#: and close to the limit each write passes or fails by chance.
FULL_SHARE = 0.98
_KEY = "vitrine:writable"
_KEY_LIFE_S = 60
#: A word of Redis' own error.
_FULL = "maxmemory"
_MEGABYTE = 2**20


class BrokerState(StrEnum):
    """What the broker does with a write."""

    WRITABLE = "writable"
    #: It answers, and refuses writes: full, read-only, or its disk is full. It stays so until someone acts.
    REFUSING = "refusing"
    #: It does not answer: restarting, frozen, or away.
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class BrokerReport:
    """The result of one probe.

    Attributes:
        message: ``ok``, or what is wrong.
        accepts_writes: whether the write of the probe passed. It may in a broker that is nearly full, which
            counts as refusing: then workers go on, and make room.
        used_bytes: memory in use, 0 where it is unknown.
        max_bytes: ``maxmemory``, 0 where there is no limit or it is unknown.
    """

    state: BrokerState
    message: str
    accepts_writes: bool = False
    used_bytes: int = 0
    max_bytes: int = 0


class BrokerHealth:
    """Probes the broker by a small real write; remembers the result for a moment. Thread-safe.

    Args:
        redis_url: the broker.
    """

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, **client_options())
        self._lock = threading.Lock()
        self._report = BrokerReport(BrokerState.WRITABLE, "ok", True)
        self._stale_at = 0.0

    def report(self) -> BrokerReport:
        """Return the state, at most ``REFRESH_S`` old, or ``REFRESH_AWAY_S`` while it is away.

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
        """Probe at the next call: a publish has just failed."""
        self._stale_at = min(self._stale_at, time.monotonic())

    def check(self) -> None:
        """Raise BrokerUnavailable unless the broker takes writes."""
        report = self.report()
        if report.state is not BrokerState.WRITABLE:
            raise BrokerUnavailable(report.message)

    def require_writable(self) -> None:
        """Raise BrokerUnavailable when the broker refuses writes.

        A broker that is away passes: it is restarting most times, and the maintenance process publishes
        again what was accepted in the meantime.
        """
        report = self.report()
        if report.state is BrokerState.REFUSING:
            raise BrokerUnavailable(f"The broker takes no work ({report.message}). Try again later.")

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
        """Return used and maximum bytes; zeros where this user may not ask."""
        try:
            found = self._client.info("memory")
        except redis.exceptions.ResponseError:
            return 0, 0
        return int(found.get("used_memory", 0)), int(found.get("maxmemory", 0))


def _refusal(reason: str, used: int, limit: int) -> str:
    """Say in a few words why a write was refused."""
    if _FULL in reason:
        full = f", {used / _MEGABYTE:.0f} of {limit / _MEGABYTE:.0f} MB used" if limit else ""
        return f"not writable{full}: raise maxmemory"
    if "read only replica" in reason:
        return "not writable: it is a read-only replica"
    return f"not writable: {reason}"
