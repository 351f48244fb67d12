"""However a process of Vitrine is started, with the mask 022 of any shell, its files are private (H7, M8).

`vitrine up`, with Redis and Milvus, is in tests/e2e/test_up.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.servers import PATIENCE_S, free_port, wait_for
from tests.web_builders import CLOSED_BROKER, picture

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[2]
SHELL_MASK = 0o022


def open_to_others(folder: Path) -> list[str]:
    return [
        f"{path}: {path.lstat().st_mode & 0o777:o}"
        for path in (folder, *folder.rglob("*"))
        if path.lstat().st_mode & 0o077 and not path.is_symlink()
    ]


@pytest.mark.parametrize("existed", [False, True], ids=["new folder", "open folder"])
def test_migrations_web_and_maintenance_make_private_files(tmp_path: Path, existed: bool) -> None:
    data, port = tmp_path / "data", free_port()
    environment = {
        **os.environ,
        "VITRINE_DATA_DIR": str(data),
        "VITRINE_REDIS__URL": CLOSED_BROKER,
        "VITRINE_WEB__PORT": str(port),
        "VITRINE_SWEEP__INTERVAL_S": "0.1",
    }
    if existed:
        (data / "logs").mkdir(parents=True, mode=0o755)
        (data / "logs" / "old.log").write_text("x")
        data.chmod(0o755)
        (data / "logs" / "old.log").chmod(0o644)

    def start(*words: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", *words]
        return subprocess.Popen(argv, cwd=ROOT, env=environment, umask=SHELL_MASK)

    assert start("shared.database.migrate").wait(PATIENCE_S) == 0
    assert open_to_others(data) == []
    processes = [start("gunicorn", "-c", "web/gunicorn_conf.py", "web.wsgi:app"), start("worker.maintenance")]
    base = f"http://127.0.0.1:{port}"
    try:
        wait_for("web answers", lambda: answers(base))
        wait_for("maintenance beats", lambda: b"maintenance" in httpx.get(f"{base}/v1/status").content)
        assert httpx.put(f"{base}/v1/catalogues/demo", json={}).status_code in (200, 201)
        sent = httpx.post(
            f"{base}/v1/searches", files={"image": ("a.jpg", picture())}, data={"catalogue": "demo"}
        )
        assert sent.status_code == 202, sent.text
        assert list(data.rglob("images/**/*.jpg")) or list((data / "images").rglob("*"))
        assert list(data.glob("vitrine.sqlite3-wal"))
        assert open_to_others(data) == []
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(PATIENCE_S)
    assert open_to_others(data) == []


def answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/healthz").status_code == 200
    except httpx.HTTPError:
        return False
