"""A shopper's own photo: delete it at once, or let others who have the link see it."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from web.api.searches import delete_own_search
from web.http.principals import current_principal
from web.http.scope import owns_photo, unknown_search
from web.services import services

blueprint = Blueprint("own_search", __name__)


@dataclass(frozen=True)
class OwnPhoto:
    """The controls of a photo that the reader of a result sent.

    Attributes:
        is_shared: whether others who have the link see it.
    """

    search_id: str
    is_shared: bool


def own_photo(search_id: str) -> OwnPhoto | None:
    """Return the controls of the photo of a search; None if there is none, or another shopper sent it."""
    found = services().tenancy.of_search(search_id)
    has_photo = found is not None and found.has_photo
    if found is None or not has_photo or not current_principal().owns(found.photo_owner):
        return None
    return OwnPhoto(search_id, found.photo_shared)


@blueprint.post("/s/<task_id>/delete")
def delete_search(task_id: str) -> AnyResponse:
    """Delete the search and its photo; its page then says that they are gone."""
    delete_own_search(task_id)
    return redirect(url_for("pages.shopper.show_search", search_id=task_id), 303)


@blueprint.post("/s/<task_id>/sharing")
def set_photo_sharing(task_id: str) -> AnyResponse:
    """Show the photo to others who have the link, or hide it again."""
    if not owns_photo(current_principal(), task_id):
        raise unknown_search(task_id)
    services().search_deletion.share_photo(task_id, request.form.get("shared") == "yes")
    return redirect(url_for("pages.shopper.show_search", search_id=task_id), 303)
