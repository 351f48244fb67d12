"""Who runs on a data folder: a lock held by the supervisor, and a file that says what it started."""

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
    """One supervised process. ``started`` tells it from a later process with the same number."""

    name: str
    pid: int | None
    started: int | None
    state: str
    restarts: int


class RunState(BaseModel):
    """What a supervisor tells about itself."""

    pid: int
    started: int | None
    url: str
    flower_url: str
    ready: bool
    services: list[ProcessState]


class DataDirLock:
    """The right to run on a data folder; the kernel gives it back when its holder dies.

    Raises:
        StorageUnavailable: the folder cannot be written.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._descriptor = _open_lock(data_dir)

    def acquire(self) -> None:
        """Raise Conflict when another Vitrine runs on the folder."""
        for _ in range(_ACQUIRE_TRIES):
            if _try_lock(self._descriptor):
                return
            time.sleep(0.1)  # `vitrine status` holds it for a moment to see whether it is free
        state = _read(self._data_dir)
        who = f" (process {state.pid}, {state.url})" if state else ""
        raise Conflict(
            f"Vitrine already runs on {self._data_dir}{who}. "
            "Stop it with `vitrine down`, or set VITRINE_DATA_DIR to another folder."
        )

    def publish(self, state: RunState) -> None:
        """Say what runs; for the holder of the lock only."""
        with contextlib.suppress(OSError):  # a full disk must not stop the supervisor
            write_private(_state_path(self._data_dir), state.model_dump_json(indent=1))

    def list_leftovers(self) -> list[ProcessState]:
        """Return the processes of an earlier supervisor that are still there, killed as it was."""
        state = _read(self._data_dir)
        return [s for s in state.services if _is_alive(s)] if state else []

    def release(self) -> None:
        """Forget the state and let the next one run."""
        _state_path(self._data_dir).unlink(missing_ok=True)
        os.close(self._descriptor)


def is_locked(data_dir: Path) -> bool:
    """Tell whether a supervisor holds the folder, also before it has said anything about itself."""
    if not _lock_path(data_dir).exists():
        return False
    descriptor = _open_lock(data_dir)
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def read_run_state(data_dir: Path) -> RunState | None:
    """Return what runs on the data folder, or None."""
    return _read(data_dir) if is_locked(data_dir) else None


def read_start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when it is gone or no /proc tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def stop_leftovers(found: list[ProcessState]) -> None:
    """Stop processes that have lost their supervisor, whole groups of them."""
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
