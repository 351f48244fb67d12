"""Processes whose wall clock is wrong, or is set while they run; Debian's package ``libfaketime``.

Only PostgreSQL can show that it does no harm: a process under libfaketime reads the wrong clock inside
its SQLite too, which no two processes of one host do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")


def find_library() -> Path | None:
    """Return libfaketime's library for programs with threads; None where it is not installed."""
    for place in _PLACES:
        found = next(Path("/").glob(f"{place.lstrip('/')}/libfaketimeMT.so.1"), None)
        if found is not None:
            return found
    return None


def library() -> Path:
    """Return libfaketime's library; skip the test where there is none."""
    found = find_library()
    if found is None:
        # CI installs it, so there the tests always run.
        pytest.skip("no libfaketime: apt-get install libfaketime")  # reason: only root can install it
    return found


class WrongClock:
    """A wall clock that is ``ahead_s`` seconds ahead of the right one.

    Attributes:
        env: what a process is started with to have this clock.
    """

    def __init__(self, file: Path, ahead_s: float) -> None:
        self._file = file
        self.set(ahead_s)
        self.env = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(Path(__file__).parent / "wrong_clock_site"),
        }

    def set(self, ahead_s: float) -> None:
        """Set the clock of the processes that have it; within a second they read it."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{ahead_s:+g}s\n")
        draft.replace(self._file)
