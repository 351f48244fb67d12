"""How the pool's child learns that its worker was told to stop.

On SIGTERM Celery's parent process waits for the task that runs; the child hears nothing. A chunk may
take minutes, so the parent passes the word on, and the child puts the chunk back after the micro-batch
that it is at.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any

_SIGNAL = signal.SIGUSR2
_told = threading.Event()


def listen() -> None:
    """Begin to listen; for the pool's child, before it takes work."""
    signal.signal(_SIGNAL, lambda *_: _told.set())


def told() -> bool:
    """Whether this process was told to stop."""
    return _told.is_set()


def pass_on(worker: Any) -> None:
    """Tell the children of a Celery worker; for its parent process."""
    pool = getattr(worker, "pool", None)
    for pid in pool.info["processes"] if pool is not None else ():
        with suppress(ProcessLookupError):
            os.kill(pid, _SIGNAL)
