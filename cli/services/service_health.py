"""Two ways to see that a service does its work: the file that it touches, or a question that it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from shared.health import files

#: Interval between two questions. A frozen service delays the supervisor by the time limit of one.
_PROBE_INTERVAL_S = 5.0


class ServiceHealth(Protocol):
    """Health of a running service, as the supervisor reads it."""

    def reset(self) -> None:
        """Forget the process before, because another one starts."""

    def age_s(self) -> float | None:
        """Return the seconds since the service was last healthy; None if it never was since it started."""


class FileHealth:
    """Health of a program of ours, which touches a file while it gets work done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def reset(self) -> None:
        files.remove(self.path)

    def age_s(self) -> float | None:
        return files.age_s(self.path)


class ProbedHealth:
    """Health of a server that is asked from time to time.

    Args:
        is_ready: asks it; has a time limit of its own.
        interval_s: time between two questions.
    """

    def __init__(self, is_ready: Callable[[], bool], interval_s: float = _PROBE_INTERVAL_S) -> None:
        self._is_ready = is_ready
        self._interval_s = interval_s
        self._asked_at = self._ready_at = float("-inf")

    def reset(self) -> None:
        self._ready_at = float("-inf")
        self._asked_at = time.monotonic()

    def age_s(self) -> float | None:
        if time.monotonic() - self._asked_at >= self._interval_s:
            if self._is_ready():
                self._ready_at = time.monotonic()
            self._asked_at = time.monotonic()
        return None if self._ready_at == float("-inf") else time.monotonic() - self._ready_at
