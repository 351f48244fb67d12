"""The real server: gunicorn with its configuration, raw sockets, and a real Redis that freezes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.database import Database
from tests.servers import PATIENCE_S, RedisServer, free_port, wait_for
from tests.web_builders import open_shop, picture

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[2]
MAX_BODY = 200_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def broker(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def server(folder: Path, broker: RedisServer) -> Iterator[httpx.Client]:
    """A client of gunicorn, started as in production."""
    open_shop(folder / "data", broker.url)
    port = free_port()
    settings = {
        "VITRINE_DATA_DIR": str(folder / "data"),
        "VITRINE_REDIS__URL": broker.url,
        "VITRINE_WEB__PORT": str(port),
        "VITRINE_WEB__MAX_BODY_BYTES": str(MAX_BODY),
        "VITRINE_LOG__FORMAT": "json",
    }
    argv = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn_conf.py", "web.wsgi:app"]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
        try:
            wait_for("gunicorn answers", lambda: answers(client))
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False


def raw(client: httpx.Client, request: bytes) -> bytes:
    """Send bytes, close our side, return what comes back until the server closes or says no more."""
    with socket.create_connection(
        (client.base_url.host, client.base_url.port or 0), timeout=PATIENCE_S
    ) as line:
        line.sendall(request)
        line.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := line.recv(65536):
                answer += piece
        except OSError:
            pass
        return answer


def head(length: str) -> bytes:
    lines = [
        "POST /v1/searches HTTP/1.1",
        "Host: localhost",
        "Content-Type: multipart/form-data; boundary=x",
        length,
        "Connection: close",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'


def waiting(client: httpx.Client) -> int:
    return int(client.get("/v1/status").json()["queues"]["search"])


def test_a_body_is_taken_whole_or_not_at_all(server: httpx.Client) -> None:
    """Row B11: too long, chunked, cut off, and with a length that lies."""
    photo = picture((300, 200))
    whole = PART + photo + b"\r\n--x--\r\n"
    good = raw(server, head(f"Content-Length: {len(whole)}") + whole)
    assert good.startswith(b"HTTP/1.1 202"), good[:200]
    before = waiting(server)

    honest = raw(server, head(f"Content-Length: {10**8}"))
    assert honest.startswith(b"HTTP/1.1 413"), honest[:200]
    assert b"body_too_large" in honest
    chunked = raw(server, head("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n")
    assert chunked.startswith(b"HTTP/1.1 411"), chunked[:200]
    assert b"length_required" in chunked
    cut = raw(server, head(f"Content-Length: {len(whole) + 500}") + whole)
    assert not cut.startswith(b"HTTP/1.1 2"), cut[:200]
    archive = head(f"Content-Length: {len(whole)}").replace(b"/v1/searches", b"/v1/catalogues/winter/imports")
    archive = archive.replace(b"multipart/form-data; boundary=x", b"application/zip")
    torn = raw(server, archive + whole[:-1])
    assert not torn.startswith(b"HTTP/1.1 2"), torn[:200]
    lying = raw(server, head(f"Content-Length: {len(whole) - 200}") + whole)
    assert not lying.startswith(b"HTTP/1.1 2"), lying[:200]
    both = raw(server, head(f"Content-Length: {len(whole)}\r\nTransfer-Encoding: chunked") + whole)
    assert not both.startswith(b"HTTP/1.1 2"), both[:200]
    assert waiting(server) == before
    assert server.get("/v1/jobs").json() == []


def test_who_is_refused_and_sends_nothing_is_answered(server: httpx.Client) -> None:
    """What is left of a refused body is read and thrown away, but not waited for without an end."""
    refused = head("Content-Length: 1000\r\nOrigin: https://evil.example")
    place = (server.base_url.host, server.base_url.port or 0)
    lines = [socket.create_connection(place, timeout=PATIENCE_S) for _ in range(10)]
    try:
        for line in lines:
            line.sendall(refused)
        for line in lines:
            assert line.recv(65536).startswith(b"HTTP/1.1 403")
    finally:
        for line in lines:
            line.close()


def test_forms_with_too_much_in_them_are_413(server: httpx.Client) -> None:
    before = waiting(server)
    many = server.post("/v1/searches", files=[("image", ("a", b"x"))] * 60)
    assert (many.status_code, many.json()["error"]["code"]) == (413, "body_too_large")
    big = server.post("/v1/searches", files={"image": ("a", picture())}, data={"category": "x" * 300_000})
    assert (big.status_code, big.json()["error"]["code"]) == (413, "body_too_large")
    assert waiting(server) == before


def test_an_answer_to_an_unread_body_announces_the_end_of_the_connection(server: httpx.Client) -> None:
    """What follows on the connection would be lost: it is closed, since the body is not waited for."""
    announced = {}
    for size in (1000, 100_000, 300_000):
        answer = server.put("/v1/nowhere", content=b"x" * size)
        assert answer.status_code in (404, 413)
        announced[size] = answer.headers["Connection"]
        # Over the same connection, unless it was announced to end.
        assert server.get("/healthz").status_code == 200
    assert announced == {1000: "keep-alive", 100_000: "close", 300_000: "close"}


def test_another_release_of_gunicorn_is_refused(tmp_path: Path) -> None:
    """The worker overrides internals, which a release may change without an error."""
    program = "import gunicorn, gunicorn.app.wsgiapp as app; gunicorn.version_info = (28, 0, 0); app.run()"
    argv = [sys.executable, "-c", program, "-c", "web/gunicorn_conf.py", "--check-config", "web.wsgi:app"]
    environment = {**os.environ, "VITRINE_DATA_DIR": str(tmp_path)}
    refused = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert refused.returncode != 0
    assert "web/http/server_worker.py needs 27.0" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_requirements_pin_gunicorn() -> None:
    import gunicorn

    pin = f"gunicorn=={gunicorn.__version__}"
    assert pin in (ROOT / "requirements" / "web.in").read_text()
    for name in ("web", "worker", "dev"):
        assert f"{pin} \\\n" in (ROOT / "requirements" / f"{name}.lock").read_text()


def test_a_frozen_broker_delays_nobody_for_long(server: httpx.Client, broker: RedisServer) -> None:
    """Rows M15, B21: all are answered while it is frozen, nothing is lost, the limit still counts."""
    assert server.post("/v1/searches", files={"image": ("a", picture())}).status_code == 202
    before = waiting(server)
    broker.send(signal.SIGSTOP)
    try:
        for n in range(1, 4):
            answer = server.post("/v1/searches", files={"image": ("a", picture())})
            assert answer.status_code == 202
            assert waiting(server) == before + n
        ready = server.get("/readyz")
        assert (ready.status_code, ready.json()["parts"]["broker"] == "ok") == (503, False)
        assert server.get(answer.headers["Location"]).json()["state"] == "queued"
    finally:
        broker.send(signal.SIGCONT)
    wait_for("the broker is seen again", lambda: server.get("/readyz").json()["parts"]["broker"] == "ok")


def test_killed_between_row_and_reply_the_same_key_gives_the_same_id(
    server: httpx.Client, folder: Path
) -> None:
    """Row M22: the client that never got its answer repeats the call."""
    key = {"Idempotency-Key": "once-and-only-once"}
    photo = {"image": ("a", picture())}
    before = rows(folder)
    first = server.post("/v1/searches", files=photo, headers=key).json()["id"]
    assert server.post("/v1/searches", files=photo, headers=key).json()["id"] == first
    assert rows(folder) == before + 1


def rows(folder: Path) -> int:
    database = Database(f"sqlite:///{folder}/data/vitrine.sqlite3")
    with database.read() as session:
        found = session.connection().exec_driver_sql("SELECT count(*) FROM searches").scalar()
    database.close()
    return int(found or 0)


def test_it_refuses_to_be_open_without_a_key(tmp_path: Path) -> None:
    settings = {"VITRINE_WEB__HOST": "0.0.0.0", "VITRINE_DATA_DIR": str(tmp_path)}
    argv = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn_conf.py", "--check-config", "web.wsgi:app"]
    refused = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert refused.returncode != 0
    assert "VITRINE_WEB__API_KEY" in refused.stdout + refused.stderr
