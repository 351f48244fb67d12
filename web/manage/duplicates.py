"""Products that show the same thing, side by side, and what to do with them."""

from __future__ import annotations

from flask import Response, request
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from shared.catalogue.duplicates import KIND, DuplicateRepository
from shared.contracts.duplicates import DuplicatesRequest
from shared.contracts.stored import stored
from shared.errors import InvalidInput
from web.api.accepting import accepting_work
from web.api.catalogues import checked
from web.api.duplicates import asked_kind
from web.api.jobs import caller_jobs
from web.http.bodies import form_fields
from web.http.errors import parsed
from web.i18n import reader
from web.manage.frame import blueprint, page_of, to_job
from web.services import services

_GROUPS = 12


@blueprint.get("/manage/catalogues/<catalogue>/duplicates")
def duplicates(catalogue: str) -> Response:
    """A page of groups, of one kind or both."""
    parts, kind = services(), asked_kind()
    page = DuplicateRepository(parts.database).groups(
        catalogue, kind, request.args.get("cursor"), _GROUPS, reader().titles
    )
    looking = [j for j in parts.jobs.list_unfinished(catalogue) if j.kind == KIND]
    return page_of("duplicates.html", catalogue=catalogue, found=page, kind=kind, looking=looking)


@blueprint.post("/manage/catalogues/<catalogue>/duplicates")
@accepting_work
def look_for_duplicates(catalogue: str) -> AnyResponse:
    """Look for them again."""
    wanted = parsed(DuplicatesRequest, form_fields())
    return to_job(caller_jobs().create(KIND, checked("catalogue", catalogue), stored(wanted)))


@blueprint.post("/manage/catalogues/<catalogue>/duplicates/delete")
@accepting_work
def delete_duplicates(catalogue: str) -> AnyResponse:
    """Delete the products of a group that were ticked."""
    chosen = request.form.getlist("product_id")
    if not chosen:
        raise InvalidInput(_("Nothing was ticked: go back, and tick the products to delete."), "product_id")
    return to_job(caller_jobs().create_delete(catalogue, chosen))
