"""Pages, styles and scripts travel compressed: on a weak network that is what a first view waits for."""

from __future__ import annotations

import gzip

from flask import Flask, Response, request

#: What is text and may be compressed. JSON of the API is not: its callers are near, and wait for a search.
_KINDS = {
    "text/html",
    "text/css",
    "text/javascript",
    "image/svg+xml",
    "application/manifest+json",
}
_LEAST_BYTES = 600
_LEVEL = 6


def compress_pages(app: Flask) -> None:
    """Compress such answers for clients that can read them."""
    app.after_request(_compress)


def _compress(response: Response) -> Response:
    if response.mimetype not in _KINDS:
        return response
    response.vary.add("Accept-Encoding")
    wanted = request.accept_encodings.quality("gzip") > 0
    if not wanted or response.status_code != 200 or "Content-Encoding" in response.headers:
        return response
    response.direct_passthrough = False
    data = response.get_data()
    if len(data) < _LEAST_BYTES:
        return response
    response.set_data(gzip.compress(data, _LEVEL, mtime=0))
    response.headers["Content-Encoding"] = "gzip"
    # The same content in other bytes: only a weak tag may stand for both.
    tag, _ = response.get_etag()
    if tag is not None:
        response.set_etag(tag, weak=True)
    return response
