"""Measure the duration of stages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Measures time from lap to lap, in milliseconds; a lap of a known name adds to it."""

    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> float:
        """End a lap and start the next one; return its duration in milliseconds."""
        now = time.perf_counter()
        spent_ms, self._since = 1000 * (now - self._since), now
        self.laps_ms[name] = self.laps_ms.get(name, 0.0) + spent_ms
        return spent_ms

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of the block from the current lap."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._since += time.perf_counter() - began
