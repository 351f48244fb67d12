"""The start page, the page of a search, and the forms that start searches."""

from __future__ import annotations

import time
from typing import Any, cast

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.contracts import TaskStatus
from shared.contracts.states import OPEN_STATES
from shared.images import QUERY_SIDE_PX
from web.api.images import SIZES
from web.api.searches import MAX_PHOTOS, accept_search, requested_wait_s, wait_for_end
from web.api.waiting import explain_wait, translate_wait_reason
from web.http.principals import current_principal
from web.http.security import creates_work
from web.i18n import reader
from web.services import services
from web.storefront.answers import DEMO, build_answer, load_photo
from web.storefront.groups import TOP_K
from web.storefront.own_search import own_photo
from web.storefront.refining import LIKELY, SORTS, kept_arguments, read_search_form, read_view
from web.storefront.scripts import MODULES, script_texts

blueprint = Blueprint("shopper", __name__)

#: Size of the picture of the searched product.
LARGE_PX = SIZES[3]
_WINDOW_SIZE = 12
#: Interval after which the start page shows other products.
_ROTATION_S = 3600


@blueprint.get("/")
def show_start() -> str:
    """Show the start page with the photo form and a selection of products."""
    catalogues = _list_catalogues()
    selected = request.args.get("catalogue", "")
    if selected not in catalogues:
        preferred = services().settings.brand.catalogue
        selected = next(
            (name for name in (preferred, DEMO) if name in catalogues), next(iter(catalogues), "")
        )
    turn = int(time.time() // _ROTATION_S)
    products = (
        services().window.sample_products(selected, reader().titles, _WINDOW_SIZE, turn) if selected else []
    )
    return _render_page(None, catalogues=catalogues, selected=selected, products=products)


@blueprint.post("/s")
@creates_work
def create_search() -> AnyResponse:
    """Accept a search from a form: a photo without scripts, or a refinement of a result.

    The answer is a redirect to the result, or JSON with its address for scripts.
    """
    by_form = request.mimetype == "application/x-www-form-urlencoded"
    accepted = accept_search(read_search_form() if by_form else None, by_link=by_form)
    address = url_for("pages.shopper.show_search", search_id=accepted.id, **cast(Any, kept_arguments()))
    if request.accept_mimetypes.best == "application/json":
        return jsonify({"id": accepted.id, "url": address})
    return redirect(address, 303)


@blueprint.get("/s/<search_id>")
def show_search(search_id: str) -> str:
    """Show a search, waiting or finished."""
    status = services().searches.status(search_id)
    catalogue = services().searches.load_earlier(search_id).options.catalogue
    return _render_page(status, catalogues=_list_catalogues(), selected=catalogue, products=[])


@blueprint.get("/s/<search_id>/part")
def show_part(search_id: str) -> Response:
    """Render only the result for scripts; answer 202 with the state while it is not ready.

    With `Prefer: wait=N`, the answer comes when the search has ended, or after N seconds.
    """
    status = services().searches.status(search_id)
    if status.state in OPEN_STATES and (seconds := requested_wait_s()):
        wait_for_end(search_id, seconds)
        status = services().searches.status(search_id)
    if status.state in OPEN_STATES:
        reason = _explain_wait(status)
        text = f"{status.state}\n{reason}" if reason else status.state
        return Response(text, 202, {"Retry-After": "1"}, mimetype="text/plain")
    return Response(render_template("part.html", **_result_context(status)), mimetype="text/html")


def _explain_wait(status: TaskStatus) -> str:
    return translate_wait_reason(explain_wait(status.state, status.created_at))


def _list_catalogues() -> list[str]:
    """Return the catalogues that this shopper may search."""
    return current_principal().visible(services().window.catalogues())


def _render_page(status: TaskStatus | None, **values: object) -> str:
    settings = services().settings
    return render_template(
        "search.html",
        search_id=status.id if status else None,
        waiting_reason=_explain_wait(status) if status else "",
        waiting_photo=load_photo(status.id) if status and status.result is None else None,
        is_demo=values["selected"] == DEMO,
        side_px=QUERY_SIDE_PX,
        max_bytes=settings.images.max_bytes,
        max_photos=MAX_PHOTOS,
        takes_addresses=settings.web.url_import,
        top_k=TOP_K,
        texts=script_texts(),
        modules=MODULES["search"],
        **(_result_context(status) if status else {"status": None}),
        **values,
    )


def _result_context(status: TaskStatus) -> dict[str, object]:
    """Return the template variables of a result."""
    view = read_view()

    def view_address(**changes: Any) -> str:
        kept: dict[str, Any] = {
            name: request.args[name] for name in ("of", "sort", "show", "rest") if name in request.args
        }
        return url_for("pages.shopper.show_search", search_id=status.id, **(kept | changes))

    return {
        "status": status,
        "answer": build_answer(status, view),
        "view": view,
        "view_address": view_address,
        "sorts": SORTS,
        "likely": LIKELY,
        "large_px": LARGE_PX,
        "max_cards": TOP_K,
        "own_photo": own_photo(status.id),
    }
