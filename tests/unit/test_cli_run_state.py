"""Who runs on a data folder: the lock, the state file, and what a killed supervisor leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.services.run_state import (
    DataDirLock,
    ProcessState,
    RunState,
    is_locked,
    read_run_state,
    read_start_time,
    stop_leftovers,
)
from shared.errors import Conflict, StorageUnavailable


def state_of(*services: ProcessState) -> RunState:
    pid = os.getpid()
    return RunState(
        pid=pid,
        started=read_start_time(pid),
        url="http://127.0.0.1:8000",
        flower_url="http://127.0.0.1:5555",
        ready=True,
        services=list(services),
    )


def test_one_runs_on_a_folder_and_the_other_is_told_who(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert not is_locked(folder)
    assert not folder.exists()  # asking makes nothing
    first = DataDirLock(folder)
    first.acquire()
    first.publish(state_of())
    assert folder.stat().st_mode & 0o077 == 0
    assert is_locked(folder)
    found = read_run_state(folder)
    assert found is not None
    assert found.pid == os.getpid()
    with pytest.raises(Conflict, match=rf"process {os.getpid()}.*vitrine down"):
        DataDirLock(folder).acquire()
    first.release()
    assert read_run_state(folder) is None
    second = DataDirLock(folder)
    second.acquire()
    second.release()


def test_lock_ends_with_its_holder_however_it_dies(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from cli.services.run_state import DataDirLock\n"
        "lock = DataDirLock(pathlib.Path(sys.argv[1])); lock.acquire(); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(tmp_path)
        holder.kill()
        holder.wait()
    assert not is_locked(tmp_path)


def test_leftovers_are_the_same_processes_and_no_others(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        started = read_start_time(sleeper.pid)
        assert started is not None
        same = ProcessState(name="web", pid=sleeper.pid, started=started, state="running", restarts=0)
        # The same number, but of a process that started at another time: not ours to end.
        other = same.model_copy(update={"name": "search", "started": started + 1})
        gone = same.model_copy(update={"name": "flower", "pid": None, "started": None})
        lock = DataDirLock(tmp_path)
        lock.acquire()
        lock.publish(state_of(same, other, gone))
        left = lock.list_leftovers()
        assert [each.name for each in left] == ["web"]
        stop_leftovers(left)
        assert sleeper.wait(timeout=30) == -signal.SIGTERM
        assert lock.list_leftovers() == []
        lock.release()
    finally:
        sleeper.kill()
        sleeper.wait()


def test_damaged_state_file_is_as_none(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path)
    lock.acquire()
    (tmp_path / "running.json").write_text('{"pid": "seven"')
    assert read_run_state(tmp_path) is None
    assert lock.list_leftovers() == []
    lock.release()


def test_folder_that_cannot_be_written_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageUnavailable, match="VITRINE_DATA_DIR"):
        DataDirLock(tmp_path / "file")
