"""The data folder is its owner's alone: made so, or closed at the next start (H7, M8)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import Misconfigured
from shared.storage.private_files import secure_data_folder


@pytest.fixture(autouse=True)
def shell_mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): oct(path.lstat().st_mode & 0o777) for path in folder.rglob("*")}


def test_a_new_folder_and_everything_in_it_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "parent" / "data"
    assert secure_data_folder(folder) == 0
    (folder / "logs").mkdir()
    (folder / "logs" / "web.log").write_text("x")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert modes(folder) == {"logs": "0o700", "logs/web.log": "0o600"}


@pytest.mark.parametrize("whole", [False, True])
def test_an_open_folder_is_closed_with_all_that_is_in_it(
    tmp_path: Path, whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    outside.write_text("x")
    (folder / "milvus").mkdir(parents=True)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "api_key").write_text("x")
    (folder / "vitrine.sqlite3").write_text("x")
    (folder / "milvus" / "program").write_text("x")
    (folder / "milvus" / "program").chmod(0o755)
    (folder / "link").symlink_to(outside)
    assert secure_data_folder(folder, whole=whole) == 4
    assert "closed 4 files and folders" in caplog.text
    assert folder.stat().st_mode & 0o777 == 0o700
    assert modes(folder) == {
        "milvus": "0o700",
        "milvus/program": "0o700",
        "vitrine.sqlite3": "0o600",
        "link": "0o777",
        "secrets": "0o755",  # containers read them under numbers of their own
        "secrets/api_key": "0o644",
    }
    assert outside.stat().st_mode & 0o777 == 0o644, "nothing outside is touched"
    assert secure_data_folder(folder, whole=whole) == 0


def test_files_in_a_closed_folder_are_closed_by_a_whole_check(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "appendonly.aof").write_text("x")
    assert secure_data_folder(folder) == 0
    assert secure_data_folder(folder, whole=True) == 1
    assert modes(folder) == {"appendonly.aof": "0o600"}


@pytest.mark.parametrize("shared", ["/", "/tmp", "~"])
def test_a_folder_that_others_use_is_refused(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match="VITRINE_DATA_DIR"):
        secure_data_folder(Path(shared).expanduser())
