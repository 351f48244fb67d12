"""Lock a data folder for one supervisor, and publish its state in a file."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from cli.services.secret_files import write_private
from shared.errors import Conflict
from shared.storage.private_files import make_data_folder, not_writable

_ACQUIRE_TRIES = 5
_LEFTOVER_GRACE_S = 10.0


class ProcessState(BaseModel):
    """A supervised process. ``started`` distinguishes it from a later process with the same id."""

    name: str
    pid: int | None
    started: int | None
    state: str
    restarts: int


class RunState(BaseModel):
    """Published state of a supervisor."""

    pid: int
    started: int | None
    url: str
    flower_url: str
    ready: bool
    services: list[ProcessState]


class DataDirLock:
    """Exclusive lock of a data folder; the kernel releases it when its holder dies.

    Raises:
        StorageUnavailable: the folder cannot be written.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._descriptor = _open_lock(data_dir)

    def acquire(self) -> None:
        """Acquire the lock, or raise Conflict if another Vitrine runs on the folder."""
        for _ in range(_ACQUIRE_TRIES):
            if _try_lock(self._descriptor):
                return
            time.sleep(0.1)  # `vitrine status` holds the lock briefly to check it
        state = _read(self._data_dir)
        who = f" (process {state.pid}, {state.url})" if state else ""
        raise Conflict(
            f"Vitrine already runs on {self._data_dir}{who}. "
            "Stop it with `vitrine down`, or set VITRINE_DATA_DIR to another folder."
        )

    def publish(self, state: RunState) -> None:
        """Write the state file; for the holder of the lock only."""
        with contextlib.suppress(OSError):  # a full disk must not stop the supervisor
            write_private(_state_path(self._data_dir), state.model_dump_json(indent=1))

    def list_leftovers(self) -> list[ProcessState]:
        """Return the running processes of an earlier supervisor that was killed."""
        state = _read(self._data_dir)
        return [s for s in state.services if _is_alive(s)] if state else []

    def release(self) -> None:
        """Delete the state file and release the lock."""
        _state_path(self._data_dir).unlink(missing_ok=True)
        os.close(self._descriptor)


def is_locked(data_dir: Path) -> bool:
    """Return whether a supervisor holds the lock, also before it has published its state."""
    if not _lock_path(data_dir).exists():
        return False
    descriptor = _open_lock(data_dir)
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def read_run_state(data_dir: Path) -> RunState | None:
    """Return the state of the running supervisor of a data folder, or None."""
    return _read(data_dir) if is_locked(data_dir) else None


def read_start_time(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; None if it ended or without /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def stop_leftovers(found: list[ProcessState]) -> None:
    """Stop the process groups of a killed supervisor."""
    _signal_groups(found, signal.SIGTERM)
    deadline = time.monotonic() + _LEFTOVER_GRACE_S
    while any(map(_is_alive, found)) and time.monotonic() < deadline:
        time.sleep(0.1)
    _signal_groups([each for each in found if _is_alive(each)], signal.SIGKILL)


def _signal_groups(found: list[ProcessState], which: signal.Signals) -> None:
    for each in found:
        if each.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(each.pid, which)


def _is_alive(each: ProcessState) -> bool:
    return each.pid is not None and each.started is not None and read_start_time(each.pid) == each.started


def _read(data_dir: Path) -> RunState | None:
    try:
        found: Any = json.loads(_state_path(data_dir).read_text("utf-8"))
        return RunState.model_validate(found)
    except (OSError, ValueError):
        return None


def _open_lock(data_dir: Path) -> int:
    make_data_folder(data_dir)
    try:
        return os.open(_lock_path(data_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise not_writable(data_dir, error) from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock_path(data_dir: Path) -> Path:
    return data_dir / "vitrine.lock"


def _state_path(data_dir: Path) -> Path:
    return data_dir / "running.json"
