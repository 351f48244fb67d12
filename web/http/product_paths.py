"""Product ids in URLs: any characters, slashes among them, percent-encoded in links.

Servers decode ``%2F`` before a URL is matched, so an id may look like an id and a further part of the path,
as that of the product ``chair/similar`` does. The request line tells both apart.
"""

from __future__ import annotations

from urllib.parse import quote

from flask import Flask, request
from werkzeug.routing import BaseConverter


class ProductIdConverter(BaseConverter):
    """Matches an id with slashes too, since servers decode ``%2F`` before an address is matched."""

    regex = r"(?s:.+?)"  # line breaks too, so that the answer names them as the error
    part_isolating = False
    weight = 200

    def to_url(self, value: object) -> str:
        """Return the id as one part of a path."""
        return quote(str(value), safe="")


def is_part_of_id(suffix: str) -> bool:
    """Return whether the last part of the current path belongs to the product id: ``chair%2Fsimilar``.

    False where the server or a proxy does not pass the path on as it was sent.
    """
    sent = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or ""
    return str(sent).partition("?")[0].lower().endswith(f"%2f{suffix}")


def route_product_ids(app: Flask) -> None:
    """Make ``<product:product_id>`` known to the routes of an application."""
    app.url_map.converters["product"] = ProductIdConverter
    # An id may have two slashes in a row, which are no mistake then.
    app.url_map.merge_slashes = False
