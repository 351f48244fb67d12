"""The product page: pictures, data and similar products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, render_template, url_for

from shared.catalogue.display import choose_title
from shared.contracts import ProductOut
from web.i18n import reader
from web.services import services
from web.storefront.answers import DEMO
from web.storefront.scripts import MODULES, script_texts

blueprint = Blueprint("products", __name__)

#: Picture size on the product page; also served at double size for high-density screens.
_LARGE_PX = 640
_MAX_ATTRIBUTES = 24


@blueprint.get("/p/<catalogue>/<product:product_id>")
def show_product(catalogue: str, product_id: str) -> str:
    """Show a product in the reader's language."""
    product = services().catalogue.product(catalogue, product_id)
    locale = reader().titles
    title = choose_title(product.titles, locale, product_id)
    currency = product.currency or services().window.currency(catalogue)
    return render_template(
        "product.html",
        catalogue=catalogue,
        product=product,
        title=title,
        category=choose_title(product.categories, locale, product.category),
        product_currency=currency,
        structured=describe_product(product, title, currency),
        attributes=list_attributes(product.attributes),
        invented=catalogue == DEMO,
        large_px=_LARGE_PX,
        texts=script_texts(),
        modules=MODULES["product"],
    )


def describe_product(product: ProductOut, title: str, currency: str) -> dict[str, Any]:
    """Return the product as schema.org's `Product`, which search engines and previews read."""
    found: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": title,
        "productID": product.product_id,
        "image": [
            url_for("images.get_image", image_id=image.image_id, size=_LARGE_PX * 2, _external=True)
            for image in product.images
        ],
    }
    if product.category:
        found["category"] = product.category
    if isinstance(brand := product.attributes.get("brand"), str):
        found["brand"] = {"@type": "Brand", "name": brand}
    if product.url:
        found["url"] = product.url
    if product.price is not None:
        found["offers"] = {"@type": "Offer", "price": str(product.price), "priceCurrency": currency}
    return found


def list_attributes(attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List a product's readable attributes as (name, text): texts, numbers, and lists of these."""
    found: list[tuple[str, str]] = []
    for name, value in attributes.items():
        values = value if isinstance(value, list) else [value]
        texts = [_to_text(each) for each in values if isinstance(each, str | int | float)]
        if texts and all(texts):
            found.append((name.replace("_", " "), ", ".join(texts)))
    return found[:_MAX_ATTRIBUTES]


def _to_text(value: str | int | float) -> str:
    if isinstance(value, bool):
        return "✓" if value else "✗"
    return str(value).strip()
