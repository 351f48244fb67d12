"""Restrict a sandbox child before it reads any input; every step is best effort.

Linux enforces all restrictions. Other systems omit those that they do not support, and the parent's deadline
still applies.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_NO_NEW_PRIVS: Final = 38
#: Connection to the parent, standard streams, shared memory, and modules that are imported late.
_MAX_OPEN_FILES: Final = 16


def drop_privileges() -> None:
    """Give up the network, new files, core dumps and new privileges; must run before threads exist."""
    # Ctrl-C and a supervisor's SIGTERM are for the parent: the child ends with its connection.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    # ITIMER_PROF counts processor time; its signal ends the process without running Python code.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # A network namespace without interfaces; containers that forbid it have their own network rules.
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


def address_space_bytes() -> int:
    """Return the size of this process's address space, 0 if the system does not provide it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def limit_memory(total_bytes: int) -> None:
    """Limit the address space of this process; the hard limit is kept, so that the limit can be changed."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (total_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


def limit_cpu(seconds: float) -> None:
    """Let SIGPROF end this process after ``seconds`` of processor time; 0 removes the limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
