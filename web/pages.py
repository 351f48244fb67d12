"""The page that a shopper sees. The server draws it all, so it works without scripts and can be shared."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.contracts import Box, Hit, SearchResult, TaskStatus
from shared.errors import VitrineError
from shared.images import probe
from web.images import SIZES
from web.searches import accept_search, query_photo
from web.security import has_key, require_key
from web.services import services

blueprint = Blueprint("pages", __name__)

DEMO = "demo"
_THUMBNAIL_PX, _SHARP_PX = next(pair for pair in pairwise(SIZES) if pair[0] >= 320)


@dataclass(frozen=True)
class Group:
    """Hits that belong together: those of one object, or of the whole photo."""

    anchor: str
    name: str
    box: Box | None
    hits: list[Hit]
    number: int = 0

    @property
    def area(self) -> float:
        """Of the box, as a fraction of the photo: small boxes are drawn over large ones."""
        x0, y0, x1, y1 = self.box or (0.0, 0.0, 1.0, 1.0)
        return (x1 - x0) * (y1 - y0)


@dataclass(frozen=True)
class Photo:
    """The searched photo; width and height in pixels, so that the page never jumps."""

    url: str
    width: int
    height: int


@blueprint.get("/")
def start() -> str:
    """The empty page: drop, paste, choose or take a photo."""
    return _page(None, None)


@blueprint.post("/s")
def create() -> AnyResponse:
    """The upload of a browser without scripts."""
    require_key(services().settings)
    return redirect(url_for("pages.shared", search_id=accept_search().id), 303)


@blueprint.get("/s/<search_id>")
def shared(search_id: str) -> str:
    """A search under its own address. With a key set, the page comes empty and asks for it."""
    if not has_key(services().settings):
        return _page(search_id, None)
    return _page(search_id, services().searches.status(search_id))


@blueprint.get("/s/<search_id>/part")
def part(search_id: str) -> Response:
    """Only the result, for the script of an open page."""
    require_key(services().settings)
    status = services().searches.status(search_id)
    keyed = services().settings.web.api_key is not None
    return Response(render_template("part.html", keyed=keyed, **_result_of(status)), mimetype="text/html")


def _page(search_id: str | None, status: TaskStatus | None) -> str:
    keyed = services().settings.web.api_key is not None
    catalogues = [] if keyed else [c.name for c in services().catalogue.all()]
    return render_template(
        "search.html",
        search_id=search_id,
        catalogues=catalogues,
        chosen=request.args.get("catalogue") or _searched_in(status),
        is_demo=DEMO in catalogues,
        keyed=keyed,
        **(_result_of(status) if status else {"status": None}),
    )


def _searched_in(status: TaskStatus | None) -> str | None:
    return status.result.catalogue if status and status.result else None


def _result_of(status: TaskStatus) -> dict[str, object]:
    """What the template of a result needs."""
    return {
        "status": status,
        "photo": _photo(status.id),
        "groups": groups(status.result) if status.result else [],
        "invented": status.result is not None and status.result.catalogue == DEMO,
        "thumbnail_px": _THUMBNAIL_PX,
        "sharp_px": _SHARP_PX,
    }


def groups(result: SearchResult) -> list[Group]:
    """The result as the page shows it: each object, then the whole photo."""
    several = len(result.objects) > 1
    found = [
        Group(
            f"object-{number}",
            f"Object {number}" if several else "The object",
            thing.box,
            thing.hits,
            number,
        )
        for number, thing in enumerate(result.objects, start=1)
    ]
    return [*found, Group("whole", "Whole photo", None, result.whole.hits)]


def _photo(search_id: str) -> Photo | None:
    """The photo of a search; None when it was by product or the photo is gone already."""
    try:
        data = query_photo(search_id)
        if data is None:
            return None
        size = probe(data, services().image_limits)
    except VitrineError:
        return None
    return Photo(url_for("searches.photo", task_id=search_id), size.width, size.height)
