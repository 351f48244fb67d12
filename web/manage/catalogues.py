"""The owner's start page, and a catalogue's own: what is in it, what is live, what was done last."""

from __future__ import annotations

from flask import Response, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from shared.errors import InvalidInput, VitrineError
from web.api.accepting import accepting_work
from web.api.catalogues import CatalogueIn, checked
from web.http.bodies import form_fields
from web.http.errors import parsed, wants_page
from web.manage.frame import blueprint, page_of, see, to_job
from web.manage.ranking import meaning_of
from web.services import services

_RECENT = 5


@blueprint.get("/manage")
def start() -> Response:
    """All catalogues, and what was done last."""
    return _start()


def _start(status: int = 200, **values: object) -> Response:
    parts = services()
    catalogues, latest = parts.catalogue.list_catalogues(), parts.jobs.latest_by_catalogue()
    return page_of("start.html", status, catalogues=catalogues, latest=latest, **values)


@blueprint.post("/manage/catalogues")
def create() -> AnyResponse:
    """Make a catalogue; what is wrong is said beside the form."""
    given = form_fields()
    try:
        name = checked("catalogue", given.pop("name", ""))
        wanted = parsed(CatalogueIn, given)
        if name in [each.name for each in services().catalogue.list_catalogues()]:
            raise InvalidInput(_("There is a catalogue of this name already."), "name")
        services().catalogue.create(name, wanted.currency)
    except VitrineError as error:
        if not wants_page():
            raise
        return _start(422, wrong=_why(error), given=request.form)
    return see(url_for("manage.catalogue", catalogue=name))


def _why(error: VitrineError) -> str:
    words: dict[str | None, str] = {
        "catalogue": _(
            "A name has 1 to 48 small letters, digits, hyphens and underscores, and begins with a letter "
            "or a digit: winter-2026."
        ),
        "currency": _("A currency has three capital letters: EUR, USD, JPY."),
    }
    return words.get(error.field, error.message)


@blueprint.get("/manage/catalogues/<catalogue>")
def catalogue(catalogue: str) -> Response:
    """One catalogue at a glance."""
    parts = services()
    shown = parts.catalogue.get(catalogue)
    jobs = parts.jobs.list_recent(catalogue, _RECENT)
    return page_of(
        "catalogue.html",
        catalogue=shown.name,
        shown=shown,
        jobs=jobs,
        meaning=meaning_of(shown.name, jobs),
        golden=len(parts.golden.list_page(catalogue, None, 1000)),
        versions=parts.indexes.list_versions(catalogue),
    )


@blueprint.post("/manage/catalogues/<catalogue>/delete")
@accepting_work
def delete_catalogue(catalogue: str) -> AnyResponse:
    """Delete it with all that it holds, once its name was typed."""
    if request.form.get("name", "").strip() != catalogue:
        raise InvalidInput(_("Type the name of the catalogue to delete it: nothing was deleted."), "name")
    return to_job(services().jobs.create_drop(checked("catalogue", catalogue)))
