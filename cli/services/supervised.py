"""Services that are started, started again when they end, and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cli.services.run_state import ProcessState, start_of
from shared.errors import Unavailable, VitrineError
from shared.health.files import MAX_AGE_S, age_s, remove

_BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
#: A service that ran for so long is healthy again: its next restart is quick.
_HEALTHY_S = 60.0
_MAX_EARLY_ENDS = 3


class Service(Protocol):
    """What the supervisor needs of a child."""

    @property
    def pid(self) -> int | None: ...
    def start(self) -> None: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...


@dataclass
class Supervised:
    """A service and what became of it so far.

    Attributes:
        grace_s: how long it may take to end.
        last_words: returns its last lines.
        health: the file that it touches while it gets work done; None where its end is its only sign.
        patience_s: how long that file must be old: when the clock of the machine jumps, it is for a moment.
    """

    name: str
    service: Service
    grace_s: float
    last_words: Callable[[], list[str]] = list
    health: Path | None = None
    patience_s: float = 4.0
    restarts: int = 0
    started_at: float = 0.0
    start_again_at: float | None = None
    ends_in_a_row: int = 0
    unhealthy_since: float | None = None

    def start(self) -> None:
        self.start_again_at = self.unhealthy_since = None
        if self.health is not None:
            remove(self.health)
        self.started_at = time.monotonic()
        self.service.start()

    def runs(self) -> bool:
        return self.service.pid is not None and self.service.poll() is None

    def hangs(self) -> bool:
        """Whether it runs and is not healthy for some seconds; one without a file yet is starting."""
        age = None if self.health is None else age_s(self.health)
        if age is None or age <= MAX_AGE_S:
            self.unhealthy_since = None
            return False
        now = time.monotonic()
        self.unhealthy_since = self.unhealthy_since or now
        return now - self.unhealthy_since >= self.patience_s

    def start_later(self) -> float:
        """Plan its next start, later with each end in a row; return in how many seconds."""
        if time.monotonic() - self.started_at > _HEALTHY_S:
            self.ends_in_a_row = 0
        delay_s = _BACK_OFF_S[min(self.ends_in_a_row, len(_BACK_OFF_S) - 1)]
        self.ends_in_a_row += 1
        self.start_again_at = time.monotonic() + delay_s
        return delay_s

    def state(self) -> ProcessState:
        pid = self.service.pid if self.runs() else None
        word = "running" if pid else ("ended" if self.start_again_at is None else "waiting")
        started = start_of(pid) if pid else None
        return ProcessState(name=self.name, pid=pid, started=started, state=word, restarts=self.restarts)


def revive(entries: Sequence[Supervised], say: Callable[[str], None], is_starting: bool) -> bool:
    """Restart what ended or hangs, with back-off; return whether anything changed.

    Args:
        is_starting: during the first start a service that ends again and again is given up.

    Raises:
        Unavailable: a service was given up; the message has its last lines.
    """
    changed = False
    for entry in entries:
        if entry.start_again_at is not None:
            if time.monotonic() >= entry.start_again_at:
                _start_again(entry, say)
                changed = True
        elif not entry.runs():
            if is_starting and entry.ends_in_a_row + 1 >= _MAX_EARLY_ENDS:
                lines = "".join(f"\n  {line}" for line in entry.last_words())
                raise Unavailable(f"{entry.name} ended {_MAX_EARLY_ENDS} times while starting.{lines}")
            code = entry.service.poll()
            say(f"{entry.name} ended with code {code}; starting it again in {entry.start_later():.0f} s")
            changed = True
        elif entry.hangs():
            say(f"{entry.name} is not healthy: it gets no work done. Restarting it")
            # It may not hear SIGTERM. The database has what it was working on.
            entry.service.kill()
            changed = True
    return changed


def stop_together(
    entries: Sequence[Supervised], say: Callable[[str], None], is_impatient: Callable[[], bool]
) -> None:
    """Ask all to end, in the given order, and kill whatever outlives its grace.

    Args:
        is_impatient: once True, everything is killed at once.
    """
    for entry in entries:
        if entry.runs() and entry.service.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry.service.pid, signal.SIGTERM)
    since = time.monotonic()
    for entry in entries:
        while entry.runs() and not is_impatient() and time.monotonic() - since < entry.grace_s:
            time.sleep(0.05)
        if entry.runs():
            say(f"killing {entry.name}")
            entry.service.kill()


def _start_again(entry: Supervised, say: Callable[[str], None]) -> None:
    entry.restarts += 1
    try:
        entry.start()
    except VitrineError as error:
        say(f"{entry.name} cannot be started: {error.message}")
        entry.start_later()
