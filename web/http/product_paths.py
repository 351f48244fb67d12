"""Product ids in addresses: any characters, slashes among them, escaped on the way out."""

from __future__ import annotations

from urllib.parse import quote

from flask import Flask
from werkzeug.routing import BaseConverter


class ProductIdConverter(BaseConverter):
    """Matches an id with slashes too, since servers decode ``%2F`` before an address is matched."""

    regex = r"(?s:.+?)"  # line breaks too, so that the answer says what is wrong with them
    part_isolating = False
    weight = 200

    def to_url(self, value: object) -> str:
        """Return the id as one part of a path."""
        return quote(str(value), safe="")


def route_product_ids(app: Flask) -> None:
    """Make ``<product:product_id>`` known to the routes of an application."""
    app.url_map.converters["product"] = ProductIdConverter
    # An id may have two slashes in a row, which are no mistake then.
    app.url_map.merge_slashes = False
