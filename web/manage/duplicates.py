"""Duplicate products side by side: find and delete them."""

from __future__ import annotations

from flask import Response, request
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from shared.catalogue.duplicates import KIND
from shared.contracts.duplicates import DuplicatesRequest
from shared.contracts.stored import stored
from shared.errors import InvalidInput
from web.api.catalogues import check_name
from web.api.duplicates import read_kind
from web.api.jobs import caller_jobs
from web.http.bodies import parse_model, read_form
from web.http.security import creates_work
from web.i18n import reader
from web.manage.frame import blueprint, redirect_to_job, render_page
from web.services import services

_PAGE_GROUPS = 12


@blueprint.get("/manage/catalogues/<catalogue>/duplicates")
def show_duplicates(catalogue: str) -> Response:
    """Show a page of duplicate groups, of one kind or both."""
    parts, kind = services(), read_kind()
    page = parts.duplicates.groups(catalogue, kind, request.args.get("cursor"), _PAGE_GROUPS, reader().titles)
    open_jobs = [j for j in parts.jobs.list_unfinished(catalogue) if j.kind == KIND]
    return render_page("duplicates.html", catalogue=catalogue, found=page, kind=kind, open_jobs=open_jobs)


@blueprint.post("/manage/catalogues/<catalogue>/duplicates")
@creates_work
def find_duplicates(catalogue: str) -> AnyResponse:
    """Start a duplicate search."""
    options = parse_model(DuplicatesRequest, read_form())
    return redirect_to_job(caller_jobs().create(KIND, check_name("catalogue", catalogue), stored(options)))


@blueprint.post("/manage/catalogues/<catalogue>/duplicates/delete")
@creates_work
def delete_duplicates(catalogue: str) -> AnyResponse:
    """Delete the selected products of a group."""
    selected = request.form.getlist("product_id")
    if not selected:
        text = _("Nothing was selected. Go back and select the products to delete.")
        raise InvalidInput(text, "product_id")
    return redirect_to_job(caller_jobs().create_delete(catalogue, selected))
