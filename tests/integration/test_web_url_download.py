"""Fetching from an address that was checked: whom it asks for, how much it takes, how long it waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from shared.errors import BodyTooLarge, InvalidInput, Refused
from web import url_fetch
from web.url_fetch import Target, checked_target


class Site(BaseHTTPRequestHandler):
    """Answers by path; remembers the Host it was asked for."""

    hosts: list[str] = []  # noqa: RUF012  shared by all requests on purpose

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()
        if self.path == "/photo":
            self.wfile.write(b"a picture")
        elif self.path == "/endless":
            self._pour(b"x" * 65_536, 0)
        elif self.path == "/drip":
            self._pour(b"x", 0.05)

    def _pour(self, piece: bytes, rest_s: float) -> None:
        try:
            while True:
                self.wfile.write(piece)
                time.sleep(rest_s)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    Site.hosts.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def target(site: ThreadingHTTPServer, path: str) -> Target:
    return Target(httpx.URL(f"http://shop.example:{site.server_port}{path}"), "127.0.0.1")


def soon() -> float:
    return time.monotonic() + 10


def test_it_connects_to_the_checked_address_and_asks_for_the_name(
    site: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert url_fetch._get(target(site, "/photo"), 1000, soon()) == b"a picture"
    assert Site.hosts == ["shop.example"]


def test_a_redirect_is_handed_back_and_checked_like_the_first_address(site: ThreadingHTTPServer) -> None:
    found = url_fetch._get(target(site, "/away"), 1000, soon())
    assert found == "http://169.254.169.254/latest/meta-data"
    with pytest.raises(Refused):
        checked_target(str(found), url_fetch.resolve)


def test_an_endless_body_is_cut_off_at_the_limit(site: ThreadingHTTPServer) -> None:
    with pytest.raises(BodyTooLarge):
        url_fetch._get(target(site, "/endless"), 1_000_000, soon())


def test_a_dripping_body_ends_at_the_deadline(site: ThreadingHTTPServer) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidInput, match="too slowly"):
        url_fetch._get(target(site, "/drip"), 1_000_000, started + 0.5)
    assert time.monotonic() - started < 5


def test_what_is_not_there_is_said(site: ThreadingHTTPServer) -> None:
    with pytest.raises(InvalidInput, match="404"):
        url_fetch._get(target(site, "/missing"), 1000, soon())
    site.server_close()
    with pytest.raises(InvalidInput, match="did not deliver"):
        url_fetch._get(Target(httpx.URL("http://shop.example:1/"), "127.0.0.1"), 1000, soon())


def test_a_chain_of_redirects_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_fetch, "resolve", lambda host, port: ["93.184.216.34"])
    asked: list[str] = []

    def on(to: Target, max_bytes: int, end: float) -> str:
        asked.append(str(to.url))
        return f"http://shop.example/{len(asked)}"

    monkeypatch.setattr(url_fetch, "_get", on)
    with pytest.raises(InvalidInput, match="redirects"):
        url_fetch.fetch_image("http://shop.example/", 1000)
    assert len(asked) == url_fetch.MAX_REDIRECTS + 1
