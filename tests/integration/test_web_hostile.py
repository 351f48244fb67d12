"""Sixteen hostile photos at once against a real server: it answers, refuses, and stays small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests import builders, hostile
from tests.servers import PATIENCE_S, RedisServer, free_port, wait_for
from tests.web_builders import open_shop

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[2]
#: What one ordinary picture takes is in it; the files that were found took 2,900 MB.
MAX_GROWTH_BYTES = 150_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Address and process id of a web worker, started as in production."""
    folder = tmp_path_factory.mktemp("hostile")
    broker = RedisServer(folder / "redis")
    broker.start()
    open_shop(folder / "data", broker.url)
    port = free_port()
    settings = {
        "VITRINE_DATA_DIR": str(folder / "data"),
        "VITRINE_REDIS__URL": broker.url,
        "VITRINE_WEB__PORT": str(port),
    }
    argv = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn_conf.py", "web.wsgi:app"]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for("gunicorn answers", lambda: answers(address))
        (worker,) = [c for c in psutil.Process(process.pid).children() if "gunicorn" in " ".join(c.cmdline())]
        yield address, worker.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        broker.kill()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def send(address: str, data: bytes) -> httpx.Response:
    files = {"image": ("photo.jpg", data)}
    return httpx.post(f"{address}/v1/searches", files=files, data={"catalogue": "demo"}, timeout=PATIENCE_S)


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def worst() -> list[bytes]:
    """Return sixteen files: those that were found to stop the server, and the largest that are allowed."""
    return [
        *(hostile.jpegs()[name] for name in ("150 kB of fill in the scan", "50 passes of 16 megapixels")),
        *[hostile.flat(7_000, "WEBP", lossless=True, method=0)] * 4,
        *[builders.png(7_000, 7_000, bytes(7_001 * 7_000))] * 3,
        *[hostile.lying_avif(4_300)] * 3,
        *[builders.png(4_000, 4_000, bytes(4_000 * (8 * 4_000 + 1)), bits=16, colour=6)] * 4,
    ]


def test_sixteen_at_once_leave_it_answering_and_small(server: tuple[str, int]) -> None:
    address, pid = server
    assert send(address, builders.jpeg()).status_code == 202
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    began_bytes = psutil.Process(pid).memory_info().rss
    files, done, healthy = worst(), threading.Event(), 0
    assert len(files) == 16
    with ThreadPoolExecutor(17) as threads:

        def poll() -> int:
            count = 0
            while not done.is_set():
                count += httpx.get(f"{address}/healthz", timeout=PATIENCE_S).status_code == 200
            return count

        polling = threads.submit(poll)
        got = list(threads.map(lambda data: send(address, data), files))
        done.set()
        healthy = polling.result()
    assert {answer.status_code for answer in got} <= {202, 422, 429}
    assert all("Retry-After" in answer.headers for answer in got if answer.status_code == 429)
    assert healthy > 0
    # The same process answers, and holds nothing of it: each request's body was 800 kB at most.
    assert psutil.pid_exists(pid)
    assert peak_bytes(pid) - began_bytes < MAX_GROWTH_BYTES
    assert send(address, builders.jpeg()).status_code in (202, 429)
    for child in psutil.Process(pid).children():
        assert child.memory_info().rss < 300_000_000


def test_a_photo_after_a_hostile_one_is_searched(server: tuple[str, int]) -> None:
    address, _ = server
    for data in worst()[:9]:
        assert send(address, data).status_code in (202, 422, 429)
        assert wait_for("a photo is taken", lambda: send(address, builders.jpeg()).status_code == 202)
