"""Delays between retries, and pauses after failures, so that an unavailable service is not called at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

_MAX_EXPONENT = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponentially growing delays.

    Attributes:
        first_s: delay after the first attempt.
        factor: multiplier from one delay to the next, above 1.
        max_s: maximum delay.
        jitter: maximum share, 0 to 1, that is taken off at random. Clients that failed together then do not
            come back together.
    """

    first_s: float
    factor: float
    max_s: float
    jitter: float = 0.0

    def delay_s(self, attempts: int) -> float:
        """Return the delay in seconds after ``attempts`` attempts, counted from 1."""
        exponent = min(max(attempts - 1, 0), _MAX_EXPONENT)
        delay_s = min(self.first_s * self.factor**exponent, self.max_s)
        return delay_s * random.uniform(1 - self.jitter, 1) if self.jitter else delay_s


class CoolDown:
    """Tells when to skip a service that failed, so that its timeout is not paid with every call.

    Safe for many threads: a lost update only adds or saves one call.

    Args:
        duration_s: length of the pause.
        max_failures: consecutive failures that start it.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, duration_s: float, max_failures: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._duration_s = duration_s
        self._max_failures = max_failures
        self._clock = clock
        self._failures = 0
        self._until = float("-inf")

    def is_active(self) -> bool:
        """Return whether calls are to be skipped now."""
        return self._clock() < self._until

    def left_s(self) -> float:
        """Return the seconds until calls may be made again."""
        return max(0.0, self._until - self._clock())

    def record_failure(self) -> None:
        """Count a failure; calls that began before the pause do not count towards the next one."""
        if self.is_active():
            return
        self._failures += 1
        if self._failures >= self._max_failures:
            self._failures, self._until = 0, self._clock() + self._duration_s

    def record_success(self) -> None:
        """Forget earlier failures."""
        self._failures = 0
