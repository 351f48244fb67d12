"""A thread that does something again and again beside a process's work, and ends when it is told to.

A daemon thread that nobody ends goes on while what it uses is closed under it, which libraries with
native code answer with a crash of the whole process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared.errors import VitrineError

log = logging.getLogger(__name__)

#: The longest that a stop waits for a call on its way, such as one to a server that went silent.
STOP_S = 15.0


class Periodic:
    """Calls ``action`` every ``interval_s`` seconds from a thread, from the call of ``start`` on.

    Args:
        name: the thread's, and what the log calls it.
        starts_now: whether the first call comes at the start, or after the first ``interval_s``.
    """

    def __init__(
        self, name: str, interval_s: float, action: Callable[[], object], starts_now: bool = False
    ) -> None:
        self._name = name
        self._every_s = interval_s
        self._action = action
        self._first_s = 0.0 if starts_now else interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Periodic:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Return when no call is on its way and none will come, or after ``STOP_S``."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
            if self._thread.is_alive():
                log.warning("%s: a call did not end within %.0f s", self._name, STOP_S)

    def _run(self) -> None:
        wait_s = self._first_s
        while not self._stopped.wait(wait_s):
            wait_s = self._every_s
            try:
                self._action()
            except VitrineError as error:
                # What it needs is away: the next call may find it back.
                log.info("%s: %s", self._name, error.message)
