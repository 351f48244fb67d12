"""The product sheet: one product with its pictures, what the catalogue says of it, and its like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, render_template

from shared.catalogue.titles import choose_title
from web.http.security import require_key
from web.i18n import reader
from web.services import services
from web.storefront.answers import DEMO
from web.storefront.scripts import MODULES, script_words
from web.storefront.shopper import SHARP_PX, THUMBNAIL_PX

blueprint = Blueprint("products", __name__)

#: Of a picture on the sheet; it is served twice as sharp too.
_LARGE_PX = 640
_MOST_FACTS = 24


@blueprint.get("/p/<catalogue>/<product_id>")
def sheet(catalogue: str, product_id: str) -> str:
    """One product in the reader's language."""
    require_key(services().settings)
    product = services().catalogue.product(catalogue, product_id)
    locale = reader().titles
    return render_template(
        "product.html",
        catalogue=catalogue,
        product=product,
        title=choose_title(product.titles, locale, product_id),
        category=choose_title(product.categories, locale, product.category),
        currency=product.currency or services().window.currency(catalogue),
        facts=filter_fields(product.attributes),
        invented=catalogue == DEMO,
        large_px=_LARGE_PX,
        thumbnail_px=THUMBNAIL_PX,
        sharp_px=SHARP_PX,
        words=script_words(),
        modules=MODULES["product"],
    )


def filter_fields(attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What can be read of a product's attributes, as (name, text): texts, numbers, and lists of them."""
    found: list[tuple[str, str]] = []
    for name, value in attributes.items():
        values = value if isinstance(value, list) else [value]
        texts = [_written(each) for each in values if isinstance(each, str | int | float)]
        if texts and all(texts):
            found.append((name.replace("_", " "), ", ".join(texts)))
    return found[:_MOST_FACTS]


def _written(value: str | int | float) -> str:
    if isinstance(value, bool):
        return "✓" if value else "✗"
    return str(value).strip()
