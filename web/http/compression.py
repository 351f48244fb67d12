"""Compress pages, styles and scripts, which dominate the first load on a slow network."""

from __future__ import annotations

import gzip

from flask import Response, request

#: Compressed media types. API JSON is excluded: its callers are near, and compression would delay searches.
_COMPRESSED_TYPES = {
    "text/html",
    "text/css",
    "text/javascript",
    "image/svg+xml",
    "application/manifest+json",
}
_MIN_BYTES = 600
_LEVEL = 6


def compress(response: Response) -> Response:
    """Compress an answer for clients that accept gzip."""
    if response.mimetype not in _COMPRESSED_TYPES:
        return response
    response.vary.add("Accept-Encoding")
    accepts_gzip = request.accept_encodings.quality("gzip") > 0
    if not accepts_gzip or response.status_code != 200 or "Content-Encoding" in response.headers:
        return response
    response.direct_passthrough = False
    data = response.get_data()
    if len(data) < _MIN_BYTES:
        return response
    response.set_data(gzip.compress(data, _LEVEL, mtime=0))
    response.headers["Content-Encoding"] = "gzip"
    # The compressed bytes differ, so only a weak tag may cover both forms.
    tag, _ = response.get_etag()
    if tag is not None:
        response.set_etag(tag, weak=True)
    return response
