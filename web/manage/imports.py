"""Imports from the owner's page: a file that is dropped or chosen, checked first, then done."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from flask_babel import gettext as _
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response as AnyResponse

from shared.contracts import ImportOptions, ImportRequest
from shared.database.idempotency import AcceptedRequest
from shared.errors import InvalidInput, UnsupportedFormat, VitrineError
from shared.imports.kinds import UPLOADS, media_type
from web.api.accepting import accepting_work
from web.api.catalogues import checked, import_upload
from web.api.import_sources import allowed_source
from web.api.jobs import caller_jobs
from web.http.bodies import form_fields
from web.http.errors import as_body, parsed, wants_page
from web.http.security import IMPORT_FORM
from web.manage.frame import blueprint, page_of, to_job
from web.services import services


@blueprint.get("/manage/import")
def import_form() -> Response:
    """The form: what, into which catalogue, and how."""
    return _form()


def _form(status: int = 200, **values: object) -> Response:
    parts = services()
    return page_of(
        "import.html",
        status,
        chosen=request.values.get("catalogue") or "",
        catalogues=[each.name for each in parts.catalogue.list_catalogues()],
        reads_sources=bool(parts.settings.jobs.import_roots or parts.settings.web.url_import),
        action=IMPORT_FORM,
        given=request.form,
        **values,
    )


@blueprint.post(IMPORT_FORM)
@accepting_work
def start_import() -> AnyResponse:
    """Take the file, and make the job; what is wrong is said beside the form."""
    try:
        return to_job(_accept())
    except VitrineError as error:
        if not wants_page():
            raise
        return _form(as_body(error)[1], wrong=error.message, where=error.field)


def _accept() -> AcceptedRequest:
    given: dict[str, Any] = form_fields()
    name = _name(given.pop("catalogue", ""))
    source = given.pop("source", None)
    file = request.files.get("file")
    if source is not None:
        return _of_source(name, {**given, "source": source})
    if file is None or not file.filename:
        raise InvalidInput(_("Choose a file first, or drop one on the form."), "file")
    ending, options = _ending(file), parsed(ImportOptions, given)
    if not file.stream.read(1):
        raise InvalidInput(_("The file is empty: choose another one."), "file")
    file.stream.seek(0)
    return import_upload(name, ending, options, file.stream)


def _name(given: str) -> str:
    try:
        return checked("catalogue", given)
    except InvalidInput as error:
        text = _("Say which catalogue: small letters, digits, hyphens and underscores, at most 48.")
        raise InvalidInput(text, "catalogue") from error


def _ending(file: FileStorage) -> str:
    """What the file is, told by its name: browsers give archives all sorts of types."""
    media = media_type(file.filename or "")
    if media is None:
        raise UnsupportedFormat(
            _(
                "%(name)s cannot be imported. Send an archive (.zip, .tar, .tar.gz, .tar.zst) with a "
                "manifest and its pictures, or a manifest alone (.csv, .jsonl, .parquet).",
                name=file.filename,
            ),
            "file",
        )
    return UPLOADS[media]


def _of_source(name: str, given: dict[str, Any]) -> AcceptedRequest:
    wanted, parts = parsed(ImportRequest, given), services()
    roots = parts.settings.jobs.import_roots
    source = allowed_source(wanted.source, roots, url_import=parts.settings.web.url_import)
    parts.catalogue.create(name)
    return caller_jobs().create_import(name, source, None, wanted.model_dump(exclude={"source"}))
