"""Slow, silent and greedy clients hold no thread of the web: everybody else is still served (H5)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.servers import PATIENCE_S, free_port, wait_for
from tests.web_builders import CLOSED_BROKER, open_shop, picture

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[2]
THREADS = 4
SLOW_HEAD = b"GET /v1/catalogues HTTP/1.1\r\nHost: localhost\r\nX-A: "
SLOW_BODY = (
    b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 9000\r\n\r\n"
)
LONG_BODY = (
    b"POST /v1/searches HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 900000\r\n\r\n" + b"[" * 70_000
)
CHUNKED = b"POST /v1/searches HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Where gunicorn listens, started as in production with few threads."""
    folder = tmp_path_factory.mktemp("slow")
    open_shop(folder / "data", CLOSED_BROKER)
    port = free_port()
    settings = {
        "VITRINE_DATA_DIR": str(folder / "data"),
        "VITRINE_REDIS__URL": CLOSED_BROKER,
        "VITRINE_WEB__PORT": str(port),
        "VITRINE_WEB__THREADS": str(THREADS),
    }
    argv = [sys.executable, "-m", "gunicorn", "-c", "web/gunicorn_conf.py", "web.wsgi:app"]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        wait_for("gunicorn answers", lambda: answers(port))
        yield ("127.0.0.1", port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
    written = (folder / "web.log").read_text()
    assert "Traceback" not in written, written


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def clients(address: tuple[str, int], count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Open ``count`` connections that send this and then nothing."""
    with ExitStack() as stack:
        lines = []
        for _ in range(count):
            line = stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
            line.settimeout(PATIENCE_S)
            line.sendall(sent)
            lines.append(line)
        yield lines


def is_served(address: tuple[str, int]) -> None:
    """Ask what needs no thread and what needs one, each over a connection of its own.

    Each client's patience is far below the deadlines of the slow ones: whoever waited for one of them to be
    cut off would fail.
    """
    base = f"http://127.0.0.1:{address[1]}"
    for path in ("/healthz", "/v1/catalogues"):
        assert httpx.get(base + path, timeout=5).status_code == 200
    large = {"image": ("a.png", picture((300, 300), format="BMP"))}
    assert len(large["image"][1]) > 200_000
    assert httpx.post(f"{base}/v1/searches", files=large, timeout=5).status_code in (202, 415)


@pytest.mark.parametrize("count", [8, 200])
@pytest.mark.parametrize(
    "sent", [b"", b"G", SLOW_HEAD, SLOW_BODY], ids=["silent", "one byte", "slow head", "slow body"]
)
def test_clients_that_do_not_finish_a_request_hold_no_thread(
    address: tuple[str, int], count: int, sent: bytes
) -> None:
    with clients(address, count, sent) as lines:
        is_served(address)
        for line in lines[:: count // 8]:
            line.sendall(b"x")  # they are still there, and send a byte now and then
        is_served(address)


@pytest.mark.parametrize("sent", [LONG_BODY, CHUNKED], ids=["long body", "chunks"])
def test_long_bodies_leave_threads_for_others(address: tuple[str, int], sent: bytes) -> None:
    with clients(address, 40, sent):
        base = f"http://127.0.0.1:{address[1]}"
        for path in ("/healthz", "/v1/catalogues"):
            assert httpx.get(base + path, timeout=5).status_code == 200
    wait_for("photos are taken again", lambda: not fails(lambda: is_served(address)))


def fails(act: Callable[[], None]) -> bool:
    try:
        act()
    except (AssertionError, httpx.HTTPError):
        return True
    return False


def test_answers_that_nobody_closes_hold_up_nobody(address: tuple[str, int]) -> None:
    """gunicorn waits in its main loop, two seconds for each, until the client closes too."""
    with clients(address, 60, b"nonsense\r\n\r\n"):
        is_served(address)


def test_clients_that_take_no_answer_hold_no_thread(address: tuple[str, int]) -> None:
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(3 * THREADS):
            line = stack.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            line.connect(address)
            line.sendall(ask)
        is_served(address)


def test_each_is_told_that_it_was_too_slow(address: tuple[str, int]) -> None:
    read = SLOW_BODY.replace(b"/sign-in", b"/v1/searches").replace(b"text/plain", b"application/json")
    with clients(address, 1, SLOW_HEAD) as (head,), clients(address, 1, read) as (body,):
        assert head.recv(65_536).startswith(b"HTTP/1.1 408")
        answer = b""
        while piece := body.recv(65_536):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert b"too slowly" in answer


def test_a_steady_client_on_a_slow_line_is_served(address: tuple[str, int]) -> None:
    """It takes longer than any deadline for silence, in pieces that come each second."""
    photo = picture((60, 40))
    form = httpx.Request("POST", "http://localhost/v1/searches", files={"image": ("a.jpg", photo)})
    body = form.read()
    head = (
        f"POST /v1/searches HTTP/1.1\r\nHost: localhost\r\nContent-Type: {form.headers['Content-Type']}\r\n"
    )
    padding = b"x" * 130_000
    with clients(address, 1, head.encode()) as (line,):
        line.sendall(f"Content-Length: {len(body) + len(padding)}\r\n\r\n".encode() + body)
        for begin in range(0, len(padding), 10_000):
            time.sleep(1)
            line.sendall(padding[begin : begin + 10_000])
        assert line.recv(65_536).startswith((b"HTTP/1.1 202", b"HTTP/1.1 400"))


def test_a_new_connection_takes_the_room_of_the_oldest_unfinished_one(address: tuple[str, int]) -> None:
    """More than the worker may have (512): the health check comes in all the same."""
    with clients(address, 600, b""):
        is_served(address)


def test_requests_in_one_packet_are_all_answered(address: tuple[str, int]) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with clients(address, 1, one * 3 + one[:20]) as (line,):
        received = b""
        while received.count(b"ok\n") < 3:
            received += line.recv(65_536)
        line.sendall(one[20:])
        while received.count(b"ok\n") < 4:
            received += line.recv(65_536)
    assert received.count(b"HTTP/1.1 200") == 4


def test_a_client_may_wait_to_be_asked_for_its_body(address: tuple[str, int]) -> None:
    head = b"PUT /v1/catalogues/asked HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with clients(address, 1, head + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n") as (line,):
        assert line.recv(100).startswith(b"HTTP/1.1 100")
        line.sendall(b"{}")
        assert line.recv(65_536).startswith(b"HTTP/1.1 20")
