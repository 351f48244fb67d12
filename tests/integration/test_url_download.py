"""Fetching from an address that was checked: whom it asks, how much it takes, how long it waits (B15).

A test's site listens on loopback, where the guard lets nobody go: `site_at` stands in for the check of
the address, and only for that.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from shared.errors import BodyTooLarge, ImageMissing, InvalidInput, Refused, Unreachable
from shared.net import url_fetch
from shared.net.pinned_http import Target
from shared.net.url_fetch import fetch, fetch_image, resolve_target
from shared.webhooks.addresses import check_address

TEN_GB = 10 * 10**9
PUBLIC = "93.184.216.34"


class Site(BaseHTTPRequestHandler):
    """Answers by path; remembers the Host it was asked for, and how much it could send."""

    hosts: list[str] = []  # noqa: RUF012  shared by all requests on purpose
    sent_bytes = 0

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        if self.path in ("/away", "/round"):
            self.send_response(302)
            inside = "http://169.254.169.254/latest/meta-data"
            self.send_header("Location", inside if self.path == "/away" else "/round")
            self.end_headers()
        elif self.path == "/slow-head":
            self._pour(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000, 0.02, 1)
        else:
            self.send_response({"/missing": 404, "/broken": 500}.get(self.path, 200))
            self.end_headers()
            if self.path == "/photo":
                self.wfile.write(b"a picture")
            elif self.path == "/endless":
                self._pour(bytes(TEN_GB // 10**5), 0, 65_536)
            elif self.path == "/drip":
                self._pour(b"x" * 10_000, 0.02, 1)

    def _pour(self, data: bytes, rest_s: float, step: int) -> None:
        try:
            while True:
                for at in range(0, len(data), step):
                    self.wfile.write(data[at : at + step])
                    type(self).sent_bytes += step
                    time.sleep(rest_s)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    Site.hosts.clear()
    Site.sent_bytes = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def site_at(site: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> ThreadingHTTPServer:
    """The site under the name shop.example; every other name and address is checked as always."""
    real = url_fetch.resolve_target

    def check(url: str, resolver: url_fetch.Resolver) -> Target:
        asked = httpx.URL(url)
        if asked.host == "shop.example":
            return Target(asked.copy_with(port=site.server_port), "127.0.0.1")
        return real(url, resolver)

    monkeypatch.setattr(url_fetch, "resolve_target", check)
    return site


@contextmanager
def no_packets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Record every connection that is tried instead of making it."""
    tried: list[object] = []

    def refuse(_: socket.socket, address: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError

    with monkeypatch.context() as scene:
        scene.setattr(socket.socket, "connect", refuse)
        scene.setattr(socket.socket, "connect_ex", refuse)
        yield tried


def test_it_connects_to_the_checked_address_and_asks_for_the_name(
    site_at: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch_image("http://shop.example/photo", 1000) == b"a picture"
    assert Site.hosts == [f"shop.example:{site_at.server_port}"]


def test_a_redirect_is_checked_like_the_first_address(site_at: ThreadingHTTPServer) -> None:
    with pytest.raises(Refused, match="private network"):
        fetch_image("http://shop.example/away", 1000)
    assert len(Site.hosts) == 1


def test_a_chain_of_redirects_ends(site_at: ThreadingHTTPServer) -> None:
    with pytest.raises(InvalidInput, match="redirects more than 3"):
        fetch_image("http://shop.example/round", 1000)
    assert len(Site.hosts) == url_fetch.MAX_REDIRECTS + 1


def test_a_body_of_ten_gigabytes_is_cut_off_at_the_limit(site_at: ThreadingHTTPServer) -> None:
    with pytest.raises(BodyTooLarge):
        fetch_image("http://shop.example/endless", 1_000_000)
    # What the sockets' buffers took, and no more.
    assert Site.sent_bytes < TEN_GB / 100


@pytest.mark.parametrize("path", ["/drip", "/slow-head"])
def test_what_drips_ends_at_the_deadline(site_at: ThreadingHTTPServer, path: str) -> None:
    """Each byte comes well within the limit of one wait; to the end it would take minutes."""
    with pytest.raises(Unreachable, match="too slowly"):
        fetch(f"http://shop.example{path}", 1_000_000, b"".join, deadline_s=0.5)
    assert Site.sent_bytes < 5_000


def test_without_the_deadline_what_drips_goes_on(site_at: ThreadingHTTPServer) -> None:
    """The control: the limit of one wait alone is never reached."""
    with pytest.raises(BodyTooLarge):
        fetch("http://shop.example/drip", 100, b"".join, deadline_s=60.0)


def test_what_is_not_there_is_said(site_at: ThreadingHTTPServer) -> None:
    with pytest.raises(ImageMissing, match="404"):
        fetch_image("http://shop.example/missing", 1000)
    with pytest.raises(Unreachable, match="500"):
        fetch_image("http://shop.example/broken", 1000)
    site_at.shutdown()
    site_at.server_close()
    with pytest.raises(Unreachable, match="did not deliver"):
        fetch_image("http://shop.example/photo", 1000)


def test_a_name_that_changes_its_mind_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: a public answer for the check, then loopback for the use. There is no second question."""
    answers = [[PUBLIC], ["127.0.0.1"]]
    monkeypatch.setattr(url_fetch, "resolve", lambda host, port: answers.pop(0))
    with no_packets(monkeypatch) as tried, pytest.raises(Unreachable):
        fetch_image("http://rebinding.example/x.jpg", 1000)
    assert tried == [(PUBLIC, 80)]
    assert answers == [["127.0.0.1"]]


def test_a_client_that_resolves_by_itself_would_be_led_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: check by name, then connect by name."""
    answers = [PUBLIC, "127.0.0.1"]

    def look_up(host: str, port: int, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolve_target("http://rebinding.example/x.jpg", url_fetch.resolve)
    with no_packets(monkeypatch) as tried, pytest.raises(httpx.ConnectError):
        httpx.get("http://rebinding.example/x.jpg", trust_env=False)
    assert tried == [("127.0.0.1", 80)]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://0/",
        "http://①②⑦.⓪.⓪.①/", "http://localhost/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fec0::1]/",
        "http://100.64.0.1/", "http://224.0.0.1/", "http://169.254.169.254/", "http://10.0.0.1/",
        "https://127.0.0.1/", "http://user@127.0.0.1/", "http://127.0.0.1:22/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_no_packet_leaves_for_a_private_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of V27, end to end, with the system's own resolver."""
    with no_packets(monkeypatch) as tried, pytest.raises((Refused, InvalidInput)):
        fetch_image(url, 1000)
    assert tried == []


def test_a_webhook_whose_name_is_not_found_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("shared.net.url_fetch.resolve", lambda *_: never.wait())
    with pytest.raises(Unreachable, match="not found in time") as caught:
        check_address("https://shop.example/hook", False, deadline_s=0.05)
    assert caught.value.field == "url"
    never.set()


def test_a_resolver_that_hangs_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()
    monkeypatch.setattr(url_fetch, "resolve", lambda host, port: [PUBLIC] if hung.wait(60) else [])
    with no_packets(monkeypatch) as tried, pytest.raises(Unreachable, match="not found in time"):
        fetch("http://shop.example/x.jpg", 1000, b"".join, deadline_s=0.2)
    hung.set()
    assert tried == []
