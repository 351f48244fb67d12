"""A catalogue's products: looked through, found by id or title, and one by one with what was seen in them."""

from __future__ import annotations

from flask import Response, request
from werkzeug.wrappers import Response as AnyResponse

from shared.catalogue.product_list import ProductList
from shared.catalogue.titles import choose_title
from web.api.accepting import accepting_work
from web.api.jobs import caller_jobs
from web.i18n import reader
from web.manage.frame import PAGE, blueprint, page_of, to_job
from web.services import services

_LONGEST = 200


@blueprint.get("/manage/catalogues/<catalogue>/products")
def products(catalogue: str) -> Response:
    """A page of products; ``q`` looks for a text in ids and titles."""
    text = request.args.get("q", "").strip()[:_LONGEST]
    after = request.args.get("after", "")[:_LONGEST]
    found = ProductList(services().database).page(catalogue, text, after, PAGE, reader().titles)
    return page_of("products.html", catalogue=catalogue, found=found, text=text, after=after)


@blueprint.get("/manage/catalogues/<catalogue>/products/<product_id>")
def product(catalogue: str, product_id: str) -> Response:
    """One product: its data, and its pictures with the boxes that the live index has."""
    parts = services()
    shown = parts.catalogue.product(catalogue, product_id)
    seen = ProductList(parts.database).read_objects(image.image_id for image in shown.images)
    return page_of(
        "product.html",
        catalogue=catalogue,
        shown=shown,
        seen=seen,
        title=choose_title(shown.titles, reader().titles, shown.product_id),
        currency=shown.currency or parts.catalogue.get(catalogue).currency,
    )


@blueprint.post("/manage/catalogues/<catalogue>/products/<product_id>/delete")
@accepting_work
def delete_product(catalogue: str, product_id: str) -> AnyResponse:
    """Delete it, from all its indexes too."""
    return to_job(caller_jobs().create_delete(catalogue, [product_id]))
