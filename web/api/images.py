"""Serve catalogue pictures resized, re-encoded and cacheable without expiry."""

from __future__ import annotations

from contextlib import suppress

from flask import Blueprint, Response, g, request
from werkzeug.wrappers import Response as AnyResponse

from shared.errors import InvalidInput, NotFound, StorageUnavailable
from shared.storage.image_store import RENDITIONS_PX, rendition_name
from web.api.openapi import Parameter, operation
from web.http.principals import current_principal
from web.services import services

blueprint = Blueprint("images", __name__)

SIZES = RENDITIONS_PX
_DEFAULT_SIZE_PX = 640
_YEAR_S = 31_536_000


@blueprint.get("/v1/images/<image_id>")
@operation(
    "Get a catalogue picture, re-encoded",
    "Products",
    {200: "image/webp"},
    parameters=(
        Parameter("size", f"Longest side in pixels: {', '.join(map(str, SIZES))}", type="integer"),
        Parameter("key", "A `search` key, for pages that show the picture: an `<img>` sends no header"),
    ),
)
def get_image(image_id: str) -> AnyResponse:
    size = request.args.get("size", str(_DEFAULT_SIZE_PX))
    if size not in map(str, SIZES):
        raise InvalidInput(f"size must be one of {', '.join(map(str, SIZES))}.", "size")
    key = services().catalogue.image_key(image_id)
    answer = Response(_load_rendition(key, int(size)), mimetype="image/webp")
    # The id is derived from the content, so the bytes at an address never change.
    is_public = services().settings.web.api_key is None or current_principal().is_visitor
    scope = "public" if is_public else "private"
    answer.headers["Cache-Control"] = f"{scope}, max-age={_YEAR_S}, immutable"
    answer.set_etag(f"{key}-{size}")
    if current_principal().is_publishable:
        # Pages of other sites embed it; the key's origins were checked before.
        g.resource_policy = {"Cross-Origin-Resource-Policy": "cross-origin"}
    return answer.make_conditional(request)


def _load_rendition(key: str, size: int) -> bytes:
    parts = services()
    name = rendition_name(key, size)
    with suppress(NotFound):
        return parts.store.get(name, "renditions")
    rendition = parts.pictures.rendition(parts.store.get(key, "images"), size, "WEBP")
    with suppress(StorageUnavailable):  # on a full disk the picture is served without being cached
        parts.store.put_named(name, rendition, "renditions")
    return rendition
