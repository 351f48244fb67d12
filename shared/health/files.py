"""A file per process whose modification time says when that process was last healthy.

A health check only compares a file's age: it imports nothing, needs no database, and works on a full disk.
The path is a public interface: docker/health.py and the supervisor read it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

#: A process touches its file every few seconds, and counts as unhealthy when it is older than this.
MAX_AGE_S = 12.0
TOUCH_INTERVAL_S = 2.0
_KEEP_S = 7 * 86_400.0
_UNSAFE = re.compile(r"[^A-Za-z0-9@._-]")


def health_file(data_dir: Path, process: str) -> Path:
    """Return the health file of a process, such as ``search@host``."""
    return data_dir / "health" / _UNSAFE.sub("_", process)


def begin(path: Path) -> None:
    """Start the file of this process, with its identity in it: an earlier process may have left one."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"{os.getpid()} {_started_at(os.getpid())}", encoding="ascii")


def touch(path: Path) -> None:
    """Record that the process is healthy at this moment. A file system that fails changes nothing."""
    try:
        os.utime(path)
    except FileNotFoundError:
        begin(path)
    except OSError:
        return


def end(path: Path) -> bool:
    """Kill the process that began the file, if it still runs; return whether it was killed.

    A process that hangs may not hear SIGTERM, and what it works on is in the database.
    """
    try:
        pid, started_at = (int(word) for word in path.read_text("ascii").split())
        if _started_at(pid) != started_at:
            return False  # another process has the number now
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return False
    return True


def mark_unhealthy(path: Path) -> None:
    """Make the file old at once: the process knows that it does no work."""
    with contextlib.suppress(OSError):
        os.utime(path, (0, 0))


def age_s(path: Path) -> float | None:
    """Return the seconds since the process was last healthy; None where it never was."""
    try:
        return max(time.time() - path.stat().st_mtime, 0.0)
    except OSError:
        return None


def remove(path: Path) -> None:
    """Forget an earlier process of this name, before a new one is started."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def sweep(data_dir: Path) -> None:
    """Delete the files of processes that ended days ago: each container leaves one."""
    with contextlib.suppress(OSError):
        for path in (data_dir / "health").iterdir():
            if (age_s(path) or 0.0) > _KEEP_S:
                remove(path)


def _started_at(pid: int) -> int:
    """When a process started, in clock ticks since boot (Linux)."""
    return int(Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()[19])


class LoopHeartbeat:
    """Touches the file of a process with one main loop, as long as no turn of the loop hangs.

    Args:
        max_turn_s: a turn may take long, since it deletes files by thousands.
    """

    def __init__(self, path: Path, max_turn_s: float = 600.0) -> None:
        begin(path)
        self._path = path
        self._max_turn_s = max_turn_s
        self._turned_at = time.monotonic()

    def turn(self) -> None:
        """Record that the loop goes on."""
        self._turned_at = time.monotonic()

    def report(self) -> None:
        """Touch the file unless the present turn hangs; call it from a thread."""
        if time.monotonic() - self._turned_at <= self._max_turn_s:
            touch(self._path)
