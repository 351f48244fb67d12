"""The catalogue list and the page of one catalogue; create and delete catalogues."""

from __future__ import annotations

from flask import Response, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from shared.errors import InvalidInput, VitrineError
from web.api.catalogues import CatalogueIn, check_name, list_visible_catalogues
from web.http.bodies import parse_model, read_form
from web.http.errors import is_page_request
from web.http.security import creates_work
from web.manage.frame import blueprint, redirect_to, redirect_to_job, render_page
from web.manage.ranking import load_ranking_summary
from web.services import services

_RECENT = 5


@blueprint.get("/manage")
def show_start() -> Response:
    """Show all catalogues with their latest jobs."""
    return _render_start()


def _render_start(status: int = 200, **values: object) -> Response:
    parts = services()
    catalogues, latest = list_visible_catalogues(), parts.jobs.latest_by_catalogue()
    return render_page("start.html", status, catalogues=catalogues, latest=latest, **values)


@blueprint.post("/manage/catalogues")
def create_catalogue() -> AnyResponse:
    """Create a catalogue; show errors next to the form."""
    fields = read_form()
    try:
        name = check_name("catalogue", fields.pop("name", ""))
        options = parse_model(CatalogueIn, fields)
        if name in [each.name for each in services().catalogue.list_catalogues()]:
            raise InvalidInput(_("A catalogue with this name already exists."), "name")
        services().catalogue.create(name, options.currency)
    except VitrineError as error:
        if not is_page_request():
            raise
        return _render_start(422, problem=_explain(error), submitted=request.form)
    return redirect_to(url_for("manage.show_catalogue", catalogue=name))


def _explain(error: VitrineError) -> str:
    texts: dict[str | None, str] = {
        "catalogue": _(
            "Use 1 to 48 lowercase letters, digits, hyphens and underscores, starting with a letter or "
            "digit: winter-2026."
        ),
        "currency": _("A currency code has three capital letters: EUR, USD, JPY."),
    }
    return texts.get(error.field, error.message)


@blueprint.get("/manage/catalogues/<catalogue>")
def show_catalogue(catalogue: str) -> Response:
    """Show a catalogue with its live index, calibration and recent jobs."""
    parts = services()
    details = parts.catalogue.get(catalogue)
    jobs = parts.jobs.list_recent(catalogue, _RECENT)
    return render_page(
        "catalogue.html",
        catalogue=details.name,
        details=details,
        jobs=jobs,
        ranking=load_ranking_summary(details.name, jobs),
        golden=len(parts.golden.list_page(catalogue, None, 1000)),
        versions=parts.indexes.list_versions(catalogue),
    )


@blueprint.post("/manage/catalogues/<catalogue>/delete")
@creates_work
def delete_catalogue(catalogue: str) -> AnyResponse:
    """Delete a catalogue with all its data if its name was typed as confirmation."""
    if request.form.get("name", "").strip() != catalogue:
        raise InvalidInput(_("Type the catalogue's name to delete it. Nothing was deleted."), "name")
    return redirect_to_job(services().jobs.create_drop(check_name("catalogue", catalogue)))
