"""Run a function periodically in a thread that can be stopped.

A daemon thread that is not stopped continues while its resources are closed. Libraries with native code may
then crash the whole process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared.errors import VitrineError

log = logging.getLogger(__name__)

#: Maximum time that ``stop`` waits for a call in progress, such as one to a server that does not answer.
STOP_S = 15.0


class Periodic:
    """Calls ``action`` every ``interval_s`` seconds from a thread after ``start``.

    Args:
        name: name of the thread and in the log.
        starts_now: whether the first call is immediate, or after the first ``interval_s``.
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
        """Stop the calls, and wait at most ``STOP_S`` for one in progress."""
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
                # A service is unavailable: the next call may succeed.
                log.info("%s: %s", self._name, error.message)
