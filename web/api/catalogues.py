"""Catalogues, their products and imports. What changes a catalogue is a job: 202 and where to poll."""

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
from web.api.import_sources import allowed_source
from web.api.jobs import caller_jobs, publish_job
from web.api.openapi import Parameter, operation
from web.http.bodies import idempotency, json_body, optional_json, query_fields, read_file, strict_json
from web.http.errors import as_invalid_input, parsed
from web.services import services

blueprint = Blueprint("catalogues", __name__)

MAX_PICTURES = 32
#: How often pictures are stored again because old ones were deleted meanwhile.
_TRIES = 3
_PIECE_BYTES = 1 << 20
_NAMES: dict[str, TypeAdapter[str]] = {
    "catalogue": TypeAdapter(CatalogueName),
    "product_id": TypeAdapter(NewProductId),
}
REPEATABLE = Parameter("Idempotency-Key", "The same key and request make one job", "header")
_OPTIONS = tuple(
    Parameter(name, f"{field.description}. Of an upload; the JSON form has it as a field")
    for name, field in ImportOptions.model_fields.items()
)


class CatalogueIn(Contract):
    """A catalogue as it is made."""

    currency: Currency = Field("EUR", description="Of prices that name none")


class ProductUpload(Contract):
    """The multipart form of a product: its data and its pictures, which replace the earlier ones."""

    product: ProductIn
    image: list[bytes] = Field(description="The pictures, the main one first")


def checked(name: str, value: str) -> str:
    """Return a name from an address if it has the right form, else raise InvalidInput."""
    try:
        return _NAMES[name].validate_python(value)
    except ValidationError as error:
        reason = as_invalid_input(error)
        raise InvalidInput(f"{name}: {reason.message}", name) from error


@blueprint.get("/v1/catalogues")
@operation("All catalogues", "Catalogues", {200: [CatalogueOut]})
def every() -> Response:
    return jsonify([c.model_dump(mode="json") for c in services().catalogue.list_catalogues()])


@blueprint.put("/v1/catalogues/<catalogue>")
@operation(
    "Make a catalogue, unless it exists",
    "Catalogues",
    {200: CatalogueOut},
    bodies={"application/json": CatalogueIn},
    errors=(400, 422),
)
def make(catalogue: str) -> Response:
    wanted = parsed(CatalogueIn, optional_json())
    made = services().catalogue.create(checked("catalogue", catalogue), wanted.currency)
    return jsonify(made.model_dump(mode="json"))


@blueprint.get("/v1/catalogues/<catalogue>")
@operation("One catalogue", "Catalogues", {200: CatalogueOut}, errors=(404,))
def one(catalogue: str) -> Response:
    return jsonify(services().catalogue.get(catalogue).model_dump(mode="json"))


@blueprint.delete("/v1/catalogues/<catalogue>")
@operation(
    "Delete a catalogue with all that it holds; its name is free at once",
    "Catalogues",
    {202: JobOut},
    errors=(404, 409),
)
def delete(catalogue: str) -> Response:
    return job_answer(services().jobs.create_drop(checked("catalogue", catalogue)))


@blueprint.get("/v1/catalogues/<catalogue>/products/<product_id>")
@operation("One product with its pictures", "Products", {200: ProductOut}, errors=(404,))
def product(catalogue: str, product_id: str) -> Response:
    return jsonify(services().catalogue.product(catalogue, product_id).model_dump(mode="json"))


@blueprint.put("/v1/catalogues/<catalogue>/products/<product_id>")
@operation(
    "Write a product; JSON alone keeps its pictures",
    "Products",
    {202: JobOut},
    bodies={"multipart/form-data": ProductUpload, "application/json": ProductIn},
    errors=(400, 404, 411, 413, 415, 422),
)
def put_product(catalogue: str, product_id: str) -> Response:
    checked("product_id", product_id)
    parts = services()
    if request.mimetype != "multipart/form-data":
        written = parsed(ProductIn, json_body())
        return job_answer(caller_jobs().create_put(catalogue, product_id, written, None))
    written = parsed(ProductIn, strict_json(_product_part()))
    jobs = caller_jobs()
    jobs.require_room(catalogue)
    pictures = _pictures()
    for _ in range(_TRIES):
        since = read_sweep_count(parts.database)
        keys = [parts.store.put(picture, "images") for picture in pictures]
        with suppress(PicturesSwept):
            return job_answer(jobs.create_put(catalogue, product_id, written, keys, since))
    raise StorageUnavailable("Old pictures are being deleted at this moment: try again.")


@blueprint.patch("/v1/catalogues/<catalogue>/products/<product_id>")
@operation(
    "Change some of a product's data: objects are merged, null takes away; its pictures stay",
    "Products",
    {202: JobOut},
    bodies={"application/json": ProductIn},
    errors=(400, 404, 413, 415, 422),
)
def patch_product(catalogue: str, product_id: str) -> Response:
    checked("product_id", product_id)
    patch = json_body()
    if not isinstance(patch, dict):
        raise InvalidInput("Send the fields to change as a JSON object.")
    now = services().catalogue.product(catalogue, product_id)
    try:
        apply_patch(now, patch)
    except ValidationError as error:
        raise as_invalid_input(error) from error
    return job_answer(caller_jobs().create_patch(catalogue, product_id, patch))


def _product_part() -> str:
    text = request.form.get("product")
    if text is None or set(request.form) != {"product"}:
        raise InvalidInput("Send the product as JSON in the one form field `product`.", "product")
    return text


def _pictures() -> list[bytes]:
    """The pictures that came along, each probed: the first of them is stored when all are sound."""
    files = request.files.getlist("image")
    if not files or set(request.files) != {"image"}:
        raise InvalidInput(
            "Send the pictures as file fields `image`; JSON alone keeps the old ones.", "image"
        )
    if len(files) > MAX_PICTURES:
        raise InvalidInput(f"A product has at most {MAX_PICTURES} pictures.", "image")
    parts = services()
    pictures = [read_file(file, "image") for file in files]
    for picture in pictures:
        parts.pictures.probe(picture)
    return pictures


@blueprint.delete("/v1/catalogues/<catalogue>/products/<product_id>")
@operation("Delete a product", "Products", {202: JobOut}, errors=(404,))
def delete_product(catalogue: str, product_id: str) -> Response:
    return job_answer(caller_jobs().create_delete(catalogue, [product_id]))


@blueprint.post("/v1/catalogues/<catalogue>/reconcile")
@operation(
    "Compare catalogue and index row by row, and mend the index if asked to",
    "Catalogues",
    {202: JobOut},
    bodies={"application/json": ReconcileRequest},
    errors=(400, 404, 422, 503),
)
def reconcile(catalogue: str) -> Response:
    name = checked("catalogue", catalogue)
    wanted = parsed(ReconcileRequest, optional_json())
    return job_answer(caller_jobs().create(JobKind.RECONCILE, name, stored(wanted)))


@blueprint.post("/v1/catalogues/<catalogue>/imports")
@operation(
    "Import an archive, a manifest, or a source that the server can read; makes the catalogue",
    "Imports",
    {202: JobOut},
    bodies={**{media: media for media in UPLOADS}, "application/json": ImportRequest},
    parameters=(*_OPTIONS, REPEATABLE),
    errors=(400, 403, 409, 411, 413, 415, 422, 503),
)
def start_import(catalogue: str) -> Response:
    name = checked("catalogue", catalogue)
    if request.mimetype in UPLOADS:
        options = parsed(ImportOptions, query_fields())
        return job_answer(import_upload(name, UPLOADS[request.mimetype], options, request.stream))
    if request.mimetype != "application/json":
        raise UnsupportedFormat(f"Send {', '.join(UPLOADS)}, or JSON with `source`.", "Content-Type")
    body = json_body()
    wanted = parsed(ImportRequest, {**query_fields(), **body} if isinstance(body, dict) else body)
    services().disk.require_space()
    settings = services().settings
    source = allowed_source(wanted.source, settings.jobs.import_roots, url_import=settings.web.url_import)
    services().catalogue.create(name)
    how = stored(wanted, exclude={"source"})
    return job_answer(caller_jobs().create_import(name, source, idempotency(name, wanted), how))


def import_upload(catalogue: str, ending: str, options: ImportOptions, stream: IO[bytes]) -> AcceptedRequest:
    """Stream an upload into the store, then commit the job; a repeated request leaves no second copy."""
    parts = services()
    if not request.content_length:
        raise InvalidInput("The body is empty.")
    parts.disk.require_space()
    jobs = caller_jobs()
    if "Idempotency-Key" not in request.headers:  # which may have made its job before
        jobs.require_room(catalogue)
    upload = f"{secrets.token_hex(32)}-upload.{ending}"
    digest = hashlib.sha256()
    try:
        most = parts.settings.jobs.max_import_bytes
        parts.store.put_stream(upload, _pieces(stream, digest), "imports", most)
        repeat: Idempotent | None = idempotency(catalogue, digest.hexdigest(), options)
        parts.catalogue.create(catalogue)
        accepted = jobs.create_import(catalogue, {"archive": upload}, repeat, stored(options))
    except BaseException:
        parts.store.delete(upload, "imports")
        raise
    if not accepted.created:
        parts.store.delete(upload, "imports")
    return accepted


def _pieces(stream: IO[bytes], digest: Any) -> Iterator[bytes]:
    while piece := stream.read(_PIECE_BYTES):
        digest.update(piece)
        yield piece


def job_answer(accepted: AcceptedRequest) -> Response:
    """Publish the job and answer 202 with where to poll it."""
    if accepted.created:
        publish_job(accepted.id)
    answer = jsonify(services().jobs.status(accepted.id).model_dump(mode="json"))
    answer.status_code = 202
    answer.headers["Location"] = url_for("jobs.one", job_id=accepted.id)
    answer.headers["Retry-After"] = "1"
    return answer
