"""Write a file per process whose modification time is the last time at which it was healthy.

A health check only compares the file's age: it imports nothing, needs no database, and works on a full disk.
The path is a public interface that docker/health.py and the supervisor read.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

#: Age of a health file from which its process counts as unhealthy.
MAX_AGE_S = 12.0
TOUCH_INTERVAL_S = 2.0
_KEEP_S = 7 * 86_400.0
_UNSAFE = re.compile(r"[^A-Za-z0-9@._-]")


def health_file(data_dir: Path, process: str) -> Path:
    """Return the health file of a process, such as ``search@host``."""
    return data_dir / "health" / _UNSAFE.sub("_", process)


def begin(path: Path) -> None:
    """Create the file of this process with its identity, replacing that of an earlier process."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"{os.getpid()} {_started_at(os.getpid())}", encoding="ascii")


def touch(path: Path) -> None:
    """Record that the process is healthy now; file system errors are ignored."""
    try:
        os.utime(path)
    except FileNotFoundError:
        begin(path)
    except OSError:
        return


def end(path: Path) -> bool:
    """Kill the process that created the file, if it still runs; return whether it was killed.

    Uses SIGKILL, because a hung process may not handle SIGTERM, and its work is in the database.
    """
    try:
        pid, started_at = (int(word) for word in path.read_text("ascii").split())
        if _started_at(pid) != started_at:
            return False  # another process has this id now
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return False
    return True


def mark_unhealthy(path: Path) -> None:
    """Make the file old: the process has detected that it does no work."""
    with contextlib.suppress(OSError):
        os.utime(path, (0, 0))


def age_s(path: Path) -> float | None:
    """Return the seconds since the process was last healthy; None if it never was."""
    try:
        return max(time.time() - path.stat().st_mtime, 0.0)
    except OSError:
        return None


def remove(path: Path) -> None:
    """Delete the file of an earlier process before a new one starts."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def sweep(data_dir: Path) -> None:
    """Delete the files of processes that ended over a week ago; each container leaves one."""
    with contextlib.suppress(OSError):
        for path in (data_dir / "health").iterdir():
            if (age_s(path) or 0.0) > _KEEP_S:
                remove(path)


def _started_at(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot (Linux)."""
    return int(Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()[19])


class LoopHeartbeat:
    """Touches the file of a process with one main loop, unless an iteration of the loop hangs.

    Args:
        max_turn_s: maximum duration of an iteration, which may delete thousands of files.
    """

    def __init__(self, path: Path, max_turn_s: float = 600.0) -> None:
        begin(path)
        self._path = path
        self._max_turn_s = max_turn_s
        self._turned_at = time.monotonic()

    def turn(self) -> None:
        """Record that an iteration has started."""
        self._turned_at = time.monotonic()

    def report(self) -> None:
        """Touch the file unless the current iteration hangs; call it from a thread."""
        if time.monotonic() - self._turned_at <= self._max_turn_s:
            touch(self._path)
