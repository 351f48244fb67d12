"""The image store when its disk fills up, and when its writers are killed: nothing partial has a name."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.storage.image_store import ImageStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def local(folder: Path) -> ImageStore:
    return ImageStore(folder.as_uri())


def test_full_disk_is_said_and_leaves_nothing(
    local: ImageStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="disk is full"):
        local.put(b"too much")
    monkeypatch.undo()
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    assert local.get(local.put(b"too much")) == b"too much"


@pytest.mark.parametrize("after", range(7))
def test_a_disk_that_fills_up_while_many_are_put_leaves_nothing_partial(
    local: ImageStore, folder: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    pieces = {hashlib.sha256(data).hexdigest(): data for data in (bytes([n]) * 2000 for n in range(3))}
    left, real = [after], os.fsync

    def full(handle: int) -> None:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable, match="disk is full"):
        local.put_all(pieces)
    monkeypatch.undo()
    there = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert there.items() <= pieces.items()
    assert not there or after >= 3, "no name before all that it stands for is on the disk"
    local.put_all(pieces)
    assert {key: local.get(key) for key in pieces} == pieces


def test_full_disk_in_truth(tmp_path: Path) -> None:
    script = """
        import resource, signal, sys
        from shared.errors import StorageUnavailable
        from shared.storage.image_store import ImageStore
        store = ImageStore(sys.argv[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            store.put(bytes(5000))
        except StorageUnavailable as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), (tmp_path / "s").as_uri()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "File too large" in done.stdout
    assert [path for path in (tmp_path / "s").rglob("*") if path.is_file()] == []


def test_killed_writers_leave_no_partial_picture(local: ImageStore, folder: Path) -> None:
    script = """
        import hashlib, sys
        from shared.storage.image_store import ImageStore
        store = ImageStore(sys.argv[1])
        print("ready", flush=True)
        number = 0
        while True:
            store.put(number.to_bytes(4, "big") * 500_000)
            number += 1
    """
    for round_number in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), folder.as_uri()],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        # Wait for a write in progress, at a different place in each round.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            halves = [
                path for path in (folder / ".temporary").iterdir() if size_of(path) > round_number * 400_000
            ]
            if halves:
                break
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    for path in (folder / "images").rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    left = len(list((folder / ".temporary").iterdir()))
    assert left >= 1, "no writer was killed in the middle of a write"
    assert local.sweep_temporary(3600) == 0
    assert local.sweep_temporary(-5) == left
    assert list((folder / ".temporary").iterdir()) == []


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
