"""Catalogues, products and imports. Changes are jobs, answered 202 with the address to poll."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field, TypeAdapter, ValidationError

from shared.catalogue.merge_patch import apply_patch
from shared.contracts import (
    CatalogueName,
    CatalogueOut,
    Contract,
    Currency,
    ImportOptions,
    ImportRequest,
    JobKind,
    JobOut,
    NewProductId,
    ProductIn,
    ProductOut,
    ReconcileRequest,
)
from shared.contracts.stored import stored
from shared.database.idempotency import AcceptedRequest, Idempotent
from shared.errors import InvalidInput, StorageUnavailable, UnsupportedFormat
from shared.imports.kinds import UPLOADS
from shared.retention.picture_sweep import PicturesSwept, read_sweep_count
from web.api.import_sources import resolve_source
from web.api.jobs import caller_jobs, publish_job
from web.api.openapi import Parameter, operation
from web.http.bodies import (
    parse_json,
    parse_model,
    read_file,
    read_idempotency,
    read_json,
    read_optional_json,
    read_query,
    to_invalid_input,
)
from web.http.principals import current_principal
from web.http.scope import require_catalogue
from web.services import services

blueprint = Blueprint("catalogues", __name__)

MAX_PICTURES = 32
#: Maximum attempts to store pictures while a sweep of old pictures runs concurrently.
_MAX_ATTEMPTS = 3
_CHUNK_BYTES = 1 << 20
_NAMES: dict[str, TypeAdapter[str]] = {
    "catalogue": TypeAdapter(CatalogueName),
    "product_id": TypeAdapter(NewProductId),
}
REPEATABLE = Parameter("Idempotency-Key", "Requests with the same key and content create one job", "header")
_OPTIONS = tuple(
    Parameter(name, f"{field.description}. For uploads; a JSON request has it as a field")
    for name, field in ImportOptions.model_fields.items()
)


class CatalogueIn(Contract):
    """The settings of a new catalogue."""

    currency: Currency = Field("EUR", description="Default currency of prices")


class ProductUpload(Contract):
    """The multipart form of a product: its data and pictures, which replace the previous ones."""

    product: ProductIn
    image: list[bytes] = Field(description="The pictures, the main one first")


def check_name(name: str, value: str) -> str:
    """Validate a name from a URL or form.

    Raises:
        InvalidInput: its form is wrong.
        UnknownCatalogue: the caller may not access this catalogue.
    """
    try:
        valid = _NAMES[name].validate_python(value)
    except ValidationError as error:
        reason = to_invalid_input(error)
        raise InvalidInput(f"{name}: {reason.message}", name) from error
    if name == "catalogue":
        require_catalogue(current_principal(), valid)
    return valid


@blueprint.get("/v1/catalogues")
@operation("List all catalogues", "Catalogues", {200: [CatalogueOut]})
def list_catalogues() -> Response:
    return jsonify([c.model_dump(mode="json") for c in list_visible_catalogues()])


def list_visible_catalogues() -> list[CatalogueOut]:
    """Return the catalogues that the caller may know of."""
    principal = current_principal()
    return [each for each in services().catalogue.list_catalogues() if principal.may_access(each.name)]


@blueprint.put("/v1/catalogues/<catalogue>")
@operation(
    "Create a catalogue unless it exists",
    "Catalogues",
    {200: CatalogueOut},
    bodies={"application/json": CatalogueIn},
)
def create_catalogue(catalogue: str) -> Response:
    body = parse_model(CatalogueIn, read_optional_json())
    created = services().catalogue.create(check_name("catalogue", catalogue), body.currency)
    return jsonify(created.model_dump(mode="json"))


@blueprint.get("/v1/catalogues/<catalogue>")
@operation("Get a catalogue", "Catalogues", {200: CatalogueOut})
def get_catalogue(catalogue: str) -> Response:
    return jsonify(services().catalogue.get(catalogue).model_dump(mode="json"))


@blueprint.delete("/v1/catalogues/<catalogue>")
@operation(
    "Delete a catalogue with all its data; its name is free immediately",
    "Catalogues",
    {202: JobOut},
    errors=(409,),
)
def delete_catalogue(catalogue: str) -> Response:
    return answer_with_job(services().jobs.create_drop(check_name("catalogue", catalogue)))


@blueprint.get("/v1/catalogues/<catalogue>/products/<product:product_id>")
@operation("Get a product with its pictures", "Products", {200: ProductOut})
def get_product(catalogue: str, product_id: str) -> Response:
    return jsonify(services().catalogue.product(catalogue, product_id).model_dump(mode="json"))


@blueprint.put("/v1/catalogues/<catalogue>/products/<product:product_id>")
@operation(
    "Create or replace a product; JSON alone keeps its pictures",
    "Products",
    {202: JobOut},
    bodies={"multipart/form-data": ProductUpload, "application/json": ProductIn},
)
def put_product(catalogue: str, product_id: str) -> Response:
    check_name("product_id", product_id)
    parts = services()
    if request.mimetype != "multipart/form-data":
        product = parse_model(ProductIn, read_json())
        return answer_with_job(caller_jobs().create_put(catalogue, product_id, product, None))
    product = parse_model(ProductIn, parse_json(_read_product()))
    jobs = caller_jobs()
    jobs.require_room(catalogue)
    pictures = _read_pictures()
    for _ in range(_MAX_ATTEMPTS):
        since = read_sweep_count(parts.database)
        keys = [parts.store.put(picture, "images") for picture in pictures]
        with suppress(PicturesSwept):
            return answer_with_job(jobs.create_put(catalogue, product_id, product, keys, since))
    raise StorageUnavailable("Old pictures are being deleted at the moment. Try again.")


@blueprint.patch("/v1/catalogues/<catalogue>/products/<product:product_id>")
@operation(
    "Change fields of a product: objects are merged, null removes a field, pictures stay",
    "Products",
    {202: JobOut},
    bodies={"application/json": ProductIn},
)
def patch_product(catalogue: str, product_id: str) -> Response:
    check_name("product_id", product_id)
    patch = read_json()
    if not isinstance(patch, dict):
        raise InvalidInput("Send the fields to change as a JSON object.")
    current = services().catalogue.product(catalogue, product_id)
    try:
        apply_patch(current, patch)
    except ValidationError as error:
        raise to_invalid_input(error) from error
    return answer_with_job(caller_jobs().create_patch(catalogue, product_id, patch))


def _read_product() -> str:
    text = request.form.get("product")
    if text is None or set(request.form) != {"product"}:
        raise InvalidInput(
            "Send the product as JSON in the form field `product`, and no other text field.", "product"
        )
    return text


def _read_pictures() -> list[bytes]:
    """Read and probe the uploaded pictures; none is stored unless all are valid."""
    files = request.files.getlist("image")
    if not files or set(request.files) != {"image"}:
        raise InvalidInput(
            "Send the pictures as file fields `image`. Send only JSON to keep the current ones.", "image"
        )
    if len(files) > MAX_PICTURES:
        raise InvalidInput(f"A product may have at most {MAX_PICTURES} pictures.", "image")
    parts = services()
    pictures = [read_file(file, "image") for file in files]
    for picture in pictures:
        parts.pictures.probe(picture)
    return pictures


@blueprint.delete("/v1/catalogues/<catalogue>/products/<product:product_id>")
@operation("Delete a product", "Products", {202: JobOut})
def delete_product(catalogue: str, product_id: str) -> Response:
    return answer_with_job(caller_jobs().create_delete(catalogue, [product_id]))


@blueprint.post("/v1/catalogues/<catalogue>/reconcile")
@operation(
    "Compare catalogue and index row by row, and repair the index on request",
    "Catalogues",
    {202: JobOut},
    bodies={"application/json": ReconcileRequest},
)
def reconcile_catalogue(catalogue: str) -> Response:
    name = check_name("catalogue", catalogue)
    body = parse_model(ReconcileRequest, read_optional_json())
    return answer_with_job(caller_jobs().create(JobKind.RECONCILE, name, stored(body)))


@blueprint.post("/v1/catalogues/<catalogue>/imports")
@operation(
    "Import an archive, a manifest, or a source that the server can read; creates the catalogue",
    "Imports",
    {202: JobOut},
    bodies={**{media: media for media in UPLOADS}, "application/json": ImportRequest},
    parameters=(*_OPTIONS, REPEATABLE),
    errors=(409,),
)
def start_import(catalogue: str) -> Response:
    name = check_name("catalogue", catalogue)
    if request.mimetype in UPLOADS:
        upload = parse_model(ImportOptions, read_query())
        return answer_with_job(import_upload(name, UPLOADS[request.mimetype], upload, request.stream))
    if request.mimetype != "application/json":
        raise UnsupportedFormat(f"Send {', '.join(UPLOADS)}, or JSON with `source`.", "Content-Type")
    body = read_json()
    options = parse_model(ImportRequest, {**read_query(), **body} if isinstance(body, dict) else body)
    services().disk.require_space()
    settings = services().settings
    source = resolve_source(options.source, settings.jobs.import_roots, url_import=settings.web.url_import)
    if not options.dry_run:
        services().catalogue.ensure(name)
    stored_options = stored(options, exclude={"source"})
    repeat = read_idempotency(name, options)
    return answer_with_job(caller_jobs().create_import(name, source, repeat, stored_options))


def import_upload(catalogue: str, ending: str, options: ImportOptions, stream: IO[bytes]) -> AcceptedRequest:
    """Store an upload and create its import job; a repeated request leaves no second copy."""
    parts = services()
    if not request.content_length:
        raise InvalidInput("The body is empty. Send an archive or a manifest.")
    parts.disk.require_space()
    jobs = caller_jobs()
    if "Idempotency-Key" not in request.headers:  # a repeated request may already have its job
        jobs.require_room(catalogue)
    upload = f"{secrets.token_hex(32)}-upload.{ending}"
    digest = hashlib.sha256()
    try:
        max_bytes = parts.settings.jobs.max_import_bytes
        parts.store.put_stream(upload, _read_chunks(stream, digest), "imports", max_bytes)
        repeat: Idempotent | None = read_idempotency(catalogue, digest.hexdigest(), options)
        if not options.dry_run:
            parts.catalogue.ensure(catalogue)
        accepted = jobs.create_import(catalogue, {"archive": upload}, repeat, stored(options))
    except BaseException:
        parts.store.delete(upload, "imports")
        raise
    if not accepted.created:
        parts.store.delete(upload, "imports")
    return accepted


def _read_chunks(stream: IO[bytes], digest: Any) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
        yield chunk


def answer_with_job(accepted: AcceptedRequest) -> Response:
    """Publish a new job and answer 202 with the address to poll."""
    if accepted.created:
        publish_job(accepted.id)
    answer = jsonify(services().jobs.status(accepted.id).model_dump(mode="json"))
    answer.status_code = 202
    answer.headers["Location"] = url_for("jobs.get_job", job_id=accepted.id)
    answer.headers["Retry-After"] = "1"
    return answer
