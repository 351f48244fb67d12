"""Serve the example shop: ``python demo/shop/serve.py --server http://127.0.0.1:8000 --key vt_…``.

It puts the server's address and the key into the pages, as a shop's own templates would, and sends the
Content-Security-Policy that docs/widget.md recommends.
"""

from __future__ import annotations

import argparse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
PICTURES = HERE.parent / "images"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}


def policy(server: str) -> str:
    """Return the shop's policy: only its own files and Vitrine's, no inline scripts or styles."""
    vitrine = "{0.scheme}://{0.netloc}".format(urlsplit(server))
    return (
        f"default-src 'none'; script-src 'self' {vitrine}; connect-src {vitrine}; "
        f"img-src 'self' {vitrine}; style-src 'self'; base-uri 'none'; form-action 'self'"
    )


def build_server(server: str, key: str, port: int = 0, language: str = "en") -> ThreadingHTTPServer:
    """Return a server of the shop's pages on 127.0.0.1, not yet started.

    Args:
        server: address of Vitrine as browsers reach it.
        key: publishable key that lists the shop's origin.
        language: language of the pages' ``lang`` attribute, which the widget follows.
    """
    values = {"{{server}}": server.rstrip("/"), "{{key}}": key, "{{language}}": language}

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = urlsplit(self.path).path.lstrip("/") or "index.html"
            folder = PICTURES if name.endswith(".jpg") else HERE
            path = folder / Path(name).name  # the name alone, so that no address leads elsewhere
            if path.suffix not in _TYPES or not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            if path.suffix == ".html":
                text = data.decode()
                for mark, value in values.items():
                    text = text.replace(mark, value)
                data = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", _TYPES[path.suffix])
            self.send_header("Content-Security-Policy", policy(server))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Shop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="address of Vitrine")
    parser.add_argument("--key", required=True, help="publishable key for the shop's origin")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--language", default="en")
    options = parser.parse_args()
    shop = build_server(options.server, options.key, options.port, options.language)
    print(f"The shop is at http://127.0.0.1:{options.port}")
    shop.serve_forever()


if __name__ == "__main__":
    main()
