"""Start services, restart them when they end or hang, and stop them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cli.services.run_state import ProcessState, read_start_time
from cli.services.service_health import ServiceHealth
from shared.errors import Unavailable, VitrineError
from shared.health.files import MAX_AGE_S
from shared.process.backoff import Backoff

_RESTART = Backoff(first_s=1.0, factor=2.0, max_s=30.0)
#: Run time after which a service counts as healthy again: its next restart is quick.
_HEALTHY_S = 60.0
_MAX_EARLY_ENDS = 3


class Service(Protocol):
    """Interface of a child process to the supervisor."""

    @property
    def pid(self) -> int | None: ...
    def start(self) -> None: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...


@dataclass
class SupervisedService:
    """A service and its restart state.

    Attributes:
        grace_s: how long it may take to end after SIGTERM.
        read_tail: returns its last log lines.
        health: when it was last healthy; None if only its exit is detected.
        hang_timeout_s: how long that must stay too long ago; a clock that jumps makes it so for a moment.
    """

    name: str
    service: Service
    grace_s: float
    read_tail: Callable[[], list[str]] = list
    health: ServiceHealth | None = None
    hang_timeout_s: float = 4.0
    restarts: int = 0
    started_at: float = 0.0
    restart_at: float | None = None
    consecutive_ends: int = 0
    unhealthy_since: float | None = None

    def start(self) -> None:
        self.restart_at = self.unhealthy_since = None
        if self.health is not None:
            self.health.reset()
        self.started_at = time.monotonic()
        self.service.start()

    def is_running(self) -> bool:
        return self.service.pid is not None and self.service.poll() is None

    def is_hung(self) -> bool:
        """Return whether it has been unhealthy for ``hang_timeout_s`` since it was healthy."""
        age = None if self.health is None else self.health.age_s()
        if age is None or age <= MAX_AGE_S:
            self.unhealthy_since = None
            return False
        now = time.monotonic()
        self.unhealthy_since = self.unhealthy_since or now
        return now - self.unhealthy_since >= self.hang_timeout_s

    def schedule_restart(self) -> float:
        """Schedule the next start with a delay that grows with each consecutive end; return it in seconds."""
        if time.monotonic() - self.started_at > _HEALTHY_S:
            self.consecutive_ends = 0
        self.consecutive_ends += 1
        delay_s = _RESTART.delay_s(self.consecutive_ends)
        self.restart_at = time.monotonic() + delay_s
        return delay_s

    def state(self) -> ProcessState:
        pid = self.service.pid if self.is_running() else None
        word = "running" if pid else ("ended" if self.restart_at is None else "waiting")
        started = read_start_time(pid) if pid else None
        return ProcessState(name=self.name, pid=pid, started=started, state=word, restarts=self.restarts)


def restart_ended(
    entries: Sequence[SupervisedService], say: Callable[[str], None], is_starting: bool
) -> bool:
    """Restart services that ended or hang, with back-off; return whether anything changed.

    Args:
        is_starting: during the first start, a service that ends repeatedly is given up.

    Raises:
        Unavailable: a service was given up; the message has its last log lines.
    """
    changed = False
    for entry in entries:
        if entry.restart_at is not None:
            if time.monotonic() >= entry.restart_at:
                _restart(entry, say)
                changed = True
        elif not entry.is_running():
            if is_starting and entry.consecutive_ends + 1 >= _MAX_EARLY_ENDS:
                lines = "".join(f"\n  {line}" for line in entry.read_tail())
                raise Unavailable(f"{entry.name} ended {_MAX_EARLY_ENDS} times while starting.{lines}")
            code = entry.service.poll()
            say(f"{entry.name} ended with code {code}; starting it again in {entry.schedule_restart():.0f} s")
            changed = True
        elif entry.is_hung():
            say(f"{entry.name} is not healthy: it gets no work done. Restarting it")
            # A hung process may not handle SIGTERM. Its work is in the database.
            entry.service.kill()
            changed = True
    return changed


def stop_together(
    entries: Sequence[SupervisedService], say: Callable[[str], None], is_impatient: Callable[[], bool]
) -> None:
    """Send SIGTERM to all, in the given order, and kill those that outlive their grace period.

    Args:
        is_impatient: once it returns True, everything is killed at once.
    """
    for entry in entries:
        if entry.is_running() and entry.service.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry.service.pid, signal.SIGTERM)
    since = time.monotonic()
    for entry in entries:
        while entry.is_running() and not is_impatient() and time.monotonic() - since < entry.grace_s:
            time.sleep(0.05)
        if entry.is_running():
            waited = "" if is_impatient() else f" did not end within {entry.grace_s:.0f} s and"
            say(f"{entry.name}{waited} is killed; accepted work is kept")
            entry.service.kill()


def _restart(entry: SupervisedService, say: Callable[[str], None]) -> None:
    entry.restarts += 1
    try:
        entry.start()
    except VitrineError as error:
        say(f"{entry.name} cannot be started: {error.message}")
        entry.schedule_restart()
