"""Refuse ids of other tenants in addresses: they answer as if they did not exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import request

from shared.access.principal import Principal
from shared.database.catalogue_rows import unknown_catalogue
from shared.database.tables import MAX_ROW_ID
from shared.errors import NotFound, UnknownJob, UnknownTask
from web.services import services


def check_scope(principal: Principal) -> None:
    """Check every id in the address of the current request.

    Raises:
        NotFound: an id belongs to another tenant. The answer is that to an unknown id.
    """
    for name, value in (request.view_args or {}).items():
        check = _CHECKS.get(name)
        if check is not None:
            check(principal, value)


def require_catalogue(principal: Principal, name: str) -> None:
    """Raise UnknownCatalogue if the principal may not know of a catalogue."""
    if not principal.may_access(name):
        raise unknown_catalogue(name)


def require_search(principal: Principal, search_id: str) -> None:
    """Raise UnknownTask if another key or visitor made the search; unknown ids pass."""
    if principal.owner is None and principal.catalogues is None:
        return
    found = services().tenancy.of_search(search_id)
    if found is not None and not (principal.owns(found.owner) and principal.may_access(found.catalogue)):
        raise unknown_search(search_id)


def unknown_search(search_id: str) -> UnknownTask:
    """Return the error for an id that was never issued."""
    return UnknownTask(f"There is no task {search_id!r}: it was never issued, or it expired long ago.")


def require_result(principal: Principal, search_id: str) -> None:
    """Raise UnknownTask if the principal may not see the hits of a search, as by a shared link."""
    if principal.catalogues is None:
        return
    found = services().tenancy.of_search(search_id)
    if found is not None and not principal.may_access(found.catalogue):
        raise unknown_search(search_id)


def may_read_photo(principal: Principal, search_id: str) -> bool:
    """Return whether the principal may see the photo of a search: its own, or one that was shared."""
    found = services().tenancy.of_search(search_id)
    if found is None or principal.owns(found.photo_owner):
        return True  # an unknown search has none
    return found.photo_shared and principal.may_access(found.catalogue)


def owns_photo(principal: Principal, search_id: str) -> bool:
    """Return whether the principal sent the photo of a search, and may delete or share it."""
    found = services().tenancy.of_search(search_id)
    return found is not None and principal.owns(found.photo_owner)


def _require_job(principal: Principal, job_id: str) -> None:
    if principal.catalogues is not None and not _may_access(principal, services().tenancy.of_job(job_id)):
        raise UnknownJob(f"There is no job {job_id!r}: GET /v1/jobs lists them.")


def _require_image(principal: Principal, image_id: str) -> None:
    if principal.catalogues is not None and not _may_access(principal, services().tenancy.of_image(image_id)):
        raise NotFound("There is no such image: its product may have been changed or deleted.")


def _require_feedback(principal: Principal, feedback_id: int) -> None:
    if principal.catalogues is None or feedback_id > MAX_ROW_ID:
        return
    if not _may_access(principal, services().tenancy.of_feedback(feedback_id)):
        raise NotFound("There is no such feedback, or its photo was not stored.")


def _may_access(principal: Principal, catalogue: str | None) -> bool:
    """Return whether the principal may see an id; None, of an unknown id, is left to the view."""
    return catalogue is None or principal.may_access(catalogue)


#: Names of ids in addresses with their checks. The other ids belong to a catalogue in the same address, or
#: are for owners; a test lists them.
_CHECKS: Final[dict[str, Callable[[Principal, Any], None]]] = {
    "catalogue": require_catalogue,
    "task_id": require_search,
    "search_id": require_result,
    "job_id": _require_job,
    "image_id": _require_image,
    "feedback_id": _require_feedback,
}
