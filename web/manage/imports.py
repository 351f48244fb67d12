"""The import form: upload a file or name a source, with an optional dry run first."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from flask_babel import gettext as _
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response as AnyResponse

from shared.contracts import ImportOptions, ImportRequest
from shared.contracts.stored import stored
from shared.database.idempotency import AcceptedRequest
from shared.errors import InvalidInput, UnsupportedFormat, VitrineError
from shared.imports.kinds import UPLOADS, media_type
from web.api.catalogues import check_name, import_upload
from web.api.import_sources import resolve_source
from web.api.jobs import caller_jobs
from web.http.bodies import parse_model, read_form
from web.http.errors import is_page_request, to_error_body
from web.http.principals import current_principal
from web.http.security import IMPORT_FORM, creates_work
from web.manage.frame import blueprint, redirect_to_job, render_page
from web.services import services


@blueprint.get("/manage/import")
def show_import_form() -> Response:
    """Show the import form."""
    return _render_form()


def _render_form(status: int = 200, **values: object) -> Response:
    parts = services()
    return render_page(
        "import.html",
        status,
        chosen=request.values.get("catalogue") or "",
        catalogues=current_principal().visible(parts.window.catalogues()),
        reads_sources=bool(parts.settings.jobs.import_roots or parts.settings.web.url_import),
        action=IMPORT_FORM,
        submitted=request.form,
        **values,
    )


@blueprint.post(IMPORT_FORM)
@creates_work
def start_import() -> AnyResponse:
    """Create the import job; show errors next to the form."""
    try:
        return redirect_to_job(_accept_import())
    except VitrineError as error:
        if not is_page_request():
            raise
        return _render_form(to_error_body(error)[1], problem=error.message, problem_field=error.field)


def _accept_import() -> AcceptedRequest:
    fields: dict[str, Any] = read_form()
    name = _check_name(fields.pop("catalogue", ""))
    source = fields.pop("source", None)
    file = request.files.get("file")
    if source is not None:
        return _import_source(name, {**fields, "source": source})
    if file is None or not file.filename:
        raise InvalidInput(_("Choose a file, or drop one on the form."), "file")
    ending, options = _file_ending(file), parse_model(ImportOptions, fields)
    if not file.stream.read(1):
        raise InvalidInput(_("The file is empty. Choose another one."), "file")
    file.stream.seek(0)
    return import_upload(name, ending, options, file.stream)


def _check_name(text: str) -> str:
    try:
        return check_name("catalogue", text)
    except InvalidInput as error:
        message = _("Enter a catalogue name: at most 48 lowercase letters, digits, hyphens and underscores.")
        raise InvalidInput(message, "catalogue") from error


def _file_ending(file: FileStorage) -> str:
    """Return the format by the file's name, because browsers send archives with various media types."""
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


def _import_source(name: str, fields: dict[str, Any]) -> AcceptedRequest:
    options, parts = parse_model(ImportRequest, fields), services()
    roots = parts.settings.jobs.import_roots
    source = resolve_source(options.source, roots, url_import=parts.settings.web.url_import)
    if not options.dry_run:
        parts.catalogue.ensure(name)
    return caller_jobs().create_import(name, source, None, stored(options, exclude={"source"}))
