"""A catalogue's products: list, find by id or title, show with detected objects, delete."""

from __future__ import annotations

from flask import Response, request
from werkzeug.wrappers import Response as AnyResponse

from shared.catalogue.display import choose_title
from web.api.jobs import caller_jobs
from web.http.security import creates_work
from web.i18n import reader
from web.manage.frame import PAGE, blueprint, redirect_to_job, render_page
from web.services import services

_MAX_TEXT = 200


@blueprint.get("/manage/catalogues/<catalogue>/products")
def show_products(catalogue: str) -> Response:
    """Show a page of products; ``q`` filters by a text in ids and titles."""
    text = request.args.get("q", "").strip()[:_MAX_TEXT]
    after = request.args.get("after", "")[:_MAX_TEXT]
    page = services().product_list.page(catalogue, text, after, PAGE, reader().titles)
    return render_page("products.html", catalogue=catalogue, page=page, text=text, after=after)


@blueprint.get("/manage/catalogues/<catalogue>/products/<product:product_id>")
def show_product(catalogue: str, product_id: str) -> Response:
    """Show a product's data, and its pictures with the boxes of the live index."""
    parts = services()
    product = parts.catalogue.product(catalogue, product_id)
    objects = parts.product_list.read_objects(image.image_id for image in product.images)
    return render_page(
        "product.html",
        catalogue=catalogue,
        product=product,
        objects=objects,
        title=choose_title(product.titles, reader().titles, product.product_id),
        currency=product.currency or parts.catalogue.get(catalogue).currency,
    )


@blueprint.post("/manage/catalogues/<catalogue>/products/<product:product_id>/delete")
@creates_work
def delete_product(catalogue: str, product_id: str) -> AnyResponse:
    """Delete a product from the catalogue and all its indexes."""
    return redirect_to_job(caller_jobs().create_delete(catalogue, [product_id]))
