"""A reverse proxy that serves a server below a path; it strips the path and sends X-Forwarded-Prefix."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_OWN = ("transfer-encoding", "connection", "content-length", "server", "date")


@contextmanager
def serving_below(prefix: str, server: str, *, named: bool = True) -> Iterator[str]:
    """Serve ``server`` below ``prefix``; yield the address of its start page.

    Args:
        named: whether the proxy names the path; without, nothing can know it.
    """
    target = urlsplit(server).netloc

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(f"{prefix}/"):
                self.answer(404, [], b"The shop's own page.")
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            headers |= {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "http"}
            headers |= {"X-Forwarded-Host": self.headers["Host"]} | (
                {"X-Forwarded-Prefix": prefix} if named else {}
            )
            line = http.client.HTTPConnection(target, timeout=30)
            line.request(self.command, self.path.removeprefix(prefix), body or None, headers)
            answer = line.getresponse()
            kept = [each for each in answer.getheaders() if each[0].lower() not in _OWN]
            self.answer(answer.status, kept, answer.read())
            line.close()

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = forward

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{proxy.server_port}{prefix}"
    proxy.shutdown()
    thread.join()
    proxy.server_close()
