"""Folders and manifests alone: nothing outside of an import is ever opened (row B14)."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import ImageMissing, InvalidManifest
from shared.imports.sources import FolderSource, ManifestAlone, NoSource, open_regular


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with traps in it, beside one that holds a secret."""
    inside, outside = tmp_path / "shop", tmp_path / "shop-private"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    (inside / "link.jpg").symlink_to(outside / "secret.jpg")
    (inside / "linked").symlink_to(outside)
    (inside / "loop.jpg").symlink_to(inside / "loop.jpg")
    (inside / "zero.jpg").symlink_to("/dev/zero")
    (inside / "folder.jpg").mkdir()
    os.mkfifo(inside / "pipe.jpg")
    (inside / "good.jpg").write_bytes(b"good")
    (inside / "sub" / "same.jpg").symlink_to(inside / "good.jpg")
    return inside


TRAPS = [
    "../shop-private/secret.jpg", "sub/../../shop-private/secret.jpg", "{outside}/secret.jpg", "link.jpg",
    "linked/secret.jpg", "loop.jpg", "zero.jpg", "folder.jpg", "pipe.jpg", "/dev/zero", "/etc/passwd",
    "good.jpg\0", "..\\shop-private\\secret.jpg", "x" * 300, "gone.jpg", "", ".", "..",
    "~/secret.jpg", "%2e%2e/shop-private/secret.jpg",
]  # fmt: skip


@contextmanager
def opened_paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record what the system is asked to open."""
    paths: list[str] = []
    real = os.open

    def watch(path: str | Path, flags: int, *more: int) -> int:
        paths.append(str(path))
        return real(path, flags, *more)

    with monkeypatch.context() as scene:
        scene.setattr(os, "open", watch)
        yield paths


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_refused_and_not_opened(shop: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FolderSource(shop)
    with opened_paths(monkeypatch) as paths, pytest.raises(ImageMissing):
        source.open(name.replace("{outside}", str(shop.parent / "shop-private")))
    assert paths == []


def test_what_is_inside_is_opened_through_a_link_too(shop: Path) -> None:
    source = FolderSource(shop)
    for name in ("good.jpg", "./good.jpg", "sub/../good.jpg", "sub/same.jpg"):
        with source.open(name) as file:
            assert file.read() == b"good"


@pytest.mark.parametrize("name", ["../shop-private/secret.jpg", "link.jpg", "linked/secret.jpg"])
def test_the_control_without_the_check_reads_the_secret(shop: Path, name: str) -> None:
    assert (shop / name).read_bytes() == b"secret"


def test_the_control_by_the_beginning_of_the_name_passes_the_sibling(shop: Path) -> None:
    """The check that many write: a folder whose name begins alike is taken for inside."""
    assert str((shop / "../shop-private/secret.jpg").resolve()).startswith(str(shop))


@pytest.mark.parametrize("trap", ["link", "pipe"])
def test_a_file_that_becomes_a_trap_between_check_and_use_is_refused(
    shop: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    good = shop / "good.jpg"
    real = os.open

    def swapped(path: str | Path, flags: int, *more: int) -> int:
        good.unlink()
        if trap == "link":
            good.symlink_to(shop.parent / "shop-private" / "secret.jpg")
        else:
            os.mkfifo(good)
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(ImageMissing):
        FolderSource(shop).open("good.jpg")


def test_the_control_of_the_pipe_waits_for_ever(shop: Path) -> None:
    """Opened as any file is, a pipe keeps the reader until somebody writes."""
    done = threading.Event()

    def read() -> None:
        (shop / "pipe.jpg").read_bytes()
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert not done.wait(0.3)
    (shop / "pipe.jpg").write_bytes(b"")
    assert done.wait(30)


def test_names_begin_at_the_top_and_follow_no_linked_folder(shop: Path) -> None:
    (shop / "sub" / "deep").mkdir()
    (shop / "sub" / "deep" / "c.jpg").write_bytes(b"x")
    names = list(FolderSource(shop).names())
    assert names[-2:] == ["sub/same.jpg", "sub/deep/c.jpg"]
    traps = {"loop.jpg", "pipe.jpg", "zero.jpg"}  # opened by nobody, and listed, so that the job names them
    assert set(names) == {"good.jpg", "link.jpg", "sub/same.jpg", "sub/deep/c.jpg"} | traps
    assert [file.name for file in FolderSource(shop).unread()] == ["linked"]


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="cannot be read"):
        list(FolderSource(tmp_path / "gone").names())


def test_a_manifest_alone_has_no_other_file() -> None:
    source = ManifestAlone("manifest.csv", lambda: io.BytesIO(b"product_id"))
    assert list(source.names()) == [source.manifest] == ["manifest.csv"]
    assert source.open("manifest.csv").read() == b"product_id"
    with pytest.raises(ImageMissing, match="only the manifest was sent"):
        source.open("a.jpg")
    with pytest.raises(ImageMissing):
        NoSource().open("a.jpg")
    assert list(NoSource().names()) == []


def test_only_regular_files_are_opened(shop: Path) -> None:
    for name in ("link.jpg", "pipe.jpg", "folder.jpg", "zero.jpg", "loop.jpg"):
        with pytest.raises(ImageMissing):
            open_regular(shop / name)
