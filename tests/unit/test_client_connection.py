"""How long a body a head announces: what the web server's main loop believes."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from web.http.client_connection import Connection, body_length
from web.http.client_socket import ClientSocket, SlowClient
from web.http.server_worker import BoundedWorker

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n%s\r\n"


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        (b"", 0),
        (b"Content-Length: 0\r\n", 0),
        (b"content-length:12 \r\n", 12),
        (b"X-Content-Length: 12\r\n", 0),
        # The parser reads 9000 here; taken for none, its reader would hold a thread kept free for others.
        (b"Content-Length: 0000000000000000000009000\r\n", None),
        (b"Content-Length: 1\r\nContent-Length: 9000\r\n", None),
        (b"Content-Length: +5\r\n", None),
        (b"Content-Length:\r\n", None),
        (b"Transfer-Encoding: chunked\r\n", None),
        (b"Content-Length: 9\r\nExpect: 100-continue\r\n", None),
    ],
)
def test_the_length_of_a_body_is_known_or_left_to_the_parser(lines: bytes, length: int | None) -> None:
    assert body_length(HEAD % lines) == length


def test_blanks_in_a_length_cost_linear_time() -> None:
    """The main loop reads it and serves no other client during that.

    When quadratic, four times the blanks cost sixteen times as much (7 s for a head of 32 kB).
    """

    def seconds(blanks: int) -> float:
        head = HEAD % (b"Content-Length: 1" + b" \t" * blanks + b"x\r\n")
        best = float("inf")
        for _ in range(3):
            began = time.thread_time()
            for _ in range(20):
                assert body_length(head) is None
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(16_000) < 10 * seconds(4_000)


def test_a_connection_that_was_closed_is_not_closed_again_by_its_last_event() -> None:
    """One poll may report a new client, for whom an old one is closed, and bytes of the old one."""
    ours, theirs = socket.socketpair()
    worker = BoundedWorker(1, 1, [], SimpleNamespace(), 30, Config(), SimpleNamespace())
    worker.poller = SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)
    connection = Connection(Config(), ClientSocket.adopt(ours), ("127.0.0.1", 1), ("127.0.0.1", 2))
    worker.nr_conns = 2
    worker._wait_for_request(connection, 1.0)
    theirs.sendall(b"G")
    worker._evict()
    worker._receive(connection, None)
    assert worker.nr_conns == 1
    theirs.close()
    worker.tmp.close()


def test_a_long_answer_is_given_its_time_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that reads steadily gets all of it; a limit for the whole would cut it off."""
    sent: list[int] = []

    def send(_: Any, data: memoryview, flags: int = 0) -> None:
        sent.append(len(data))
        if len(sent) > 5:
            raise TimeoutError

    monkeypatch.setattr(socket.socket, "sendall", send)
    ours, theirs = socket.socketpair()
    with ClientSocket.adopt(ours) as line, theirs:
        line.sendall(b"x" * 200_000)
        assert sent == [80_000, 80_000, 40_000]
        with pytest.raises(SlowClient):
            line.sendall(b"x" * 300_000)
