"""The start page, a search under its own address, and the forms that lead from one to the next."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.contracts import TaskStatus
from shared.contracts.states import OPEN_STATES
from web.api.accepting import accepting_work
from web.api.images import SIZES
from web.api.searches import MAX_PHOTOS, accept_request, accept_search
from web.api.waiting import reason_for_reader, reason_of_wait
from web.http.security import require_key
from web.i18n import reader
from web.services import services
from web.storefront.answers import DEMO, answer_of, photo_of
from web.storefront.refining import LIKELY, SORTS, sort_wanted, wanted_by_form
from web.storefront.scripts import MODULES, script_words

blueprint = Blueprint("shopper", __name__)

#: Of a picture in a grid, and of the same on a screen with two pixels for one.
THUMBNAIL_PX, SHARP_PX = SIZES[2], SIZES[3]
_SHOWN = 12
#: The window is dressed anew so often.
_TURN_S = 3600


@blueprint.get("/")
def start() -> str:
    """The empty page: drop, paste, choose or take a photo, or start from something in the window."""
    require_key(services().settings)
    catalogues = services().window.catalogues()
    chosen = request.args.get("catalogue", "")
    if chosen not in catalogues:
        chosen = DEMO if DEMO in catalogues else next(iter(catalogues), "")
    turn = int(time.time() // _TURN_S)
    shown = services().window.sample_products(chosen, reader().titles, _SHOWN, turn) if chosen else []
    return _page(None, catalogues=catalogues, chosen=chosen, shown=shown)


@blueprint.post("/s")
@accepting_work
def create() -> AnyResponse:
    """Take a photo from a browser without scripts, or what a form of a result asks for.

    Answers with the way to the result: a redirect, or JSON to a script that asks for it.
    """
    require_key(services().settings)
    by_form = request.mimetype == "application/x-www-form-urlencoded"
    accepted = accept_request(wanted_by_form()) if by_form else accept_search()
    kept: dict[str, Any] = {name: request.form[name] for name in ("of", "sort") if request.form.get(name)}
    address = url_for("pages.shopper.shared", search_id=accepted.id, **kept)
    if request.accept_mimetypes.best == "application/json":
        return jsonify({"id": accepted.id, "url": address})
    return redirect(address, 303)


@blueprint.get("/s/<search_id>")
def shared(search_id: str) -> str:
    """A search under its own address, waiting or done."""
    require_key(services().settings)
    status = services().searches.status(search_id)
    catalogue = services().searches.load_earlier(search_id).options.catalogue
    return _page(status, catalogues=services().window.catalogues(), chosen=catalogue, shown=[])


@blueprint.get("/s/<search_id>/part")
def part(search_id: str) -> Response:
    """Only the result, for the script of an open page; 202 with the state while there is none."""
    require_key(services().settings)
    status = services().searches.status(search_id)
    if status.state in OPEN_STATES:
        reason = _reason_of(status)
        text = f"{status.state}\n{reason}" if reason else status.state
        return Response(text, 202, {"Retry-After": "1"}, mimetype="text/plain")
    return Response(render_template("part.html", **_result_of(status)), mimetype="text/html")


def _reason_of(status: TaskStatus) -> str:
    return reason_for_reader(reason_of_wait(status.state, status.created_at))


def _page(status: TaskStatus | None, **more: object) -> str:
    settings = services().settings
    return render_template(
        "search.html",
        search_id=status.id if status else None,
        waiting_reason=_reason_of(status) if status else "",
        waiting_photo=photo_of(status.id) if status and status.result is None else None,
        is_demo=more["chosen"] == DEMO,
        side_px=settings.images.query_side_px,
        most_bytes=settings.images.max_bytes,
        most_photos=MAX_PHOTOS,
        words=script_words(),
        modules=MODULES["search"],
        **(_result_of(status) if status else {"status": None, "thumbnail_px": THUMBNAIL_PX}),
        **more,
    )


def _result_of(status: TaskStatus) -> dict[str, object]:
    """What the template of a result needs."""
    return {
        "status": status,
        "answer": answer_of(status, request.args.get("of"), sort_wanted()),
        "sorts": SORTS,
        "likely": LIKELY,
        "thumbnail_px": THUMBNAIL_PX,
        "sharp_px": SHARP_PX,
    }
