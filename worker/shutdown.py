"""Tell the pool's child process that its worker is stopping.

On SIGTERM Celery's parent process waits for the running task, and the child gets no signal. A chunk may take
minutes, so the parent forwards the stop as a signal of our own, and the child puts the chunk back after the
current micro-batch.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any

_SIGNAL = signal.SIGUSR2
_requested = threading.Event()


def install_handler() -> None:
    """Handle the parent's stop signal; to be called in the pool's child before it takes work."""
    signal.signal(_SIGNAL, lambda *_: _requested.set())


def is_stop_requested() -> bool:
    """Return whether this worker is stopping."""
    return _requested.is_set()


def notify_children(worker: Any) -> None:
    """Send the stop signal to the children of a Celery worker; to be called in its parent process."""
    pool = getattr(worker, "pool", None)
    for pid in pool.info["processes"] if pool is not None else ():
        with suppress(ProcessLookupError):
            os.kill(pid, _SIGNAL)
