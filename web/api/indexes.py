"""Index versions: listed, re-processed, promoted, rolled back, pruned and rebuilt; golden queries."""

from __future__ import annotations

from typing import TypeVar

from flask import Blueprint, Response, jsonify, request

from shared.contracts import JobOut
from shared.contracts.base import Contract
from shared.contracts.indexes import (
    ChooseIndex,
    GoldenIn,
    GoldenOut,
    IndexOut,
    PromoteRequest,
    PruneRequest,
    ReprocessRequest,
    RollbackRequest,
)
from web.api.catalogues import REPEATABLE, checked, job_answer
from web.api.openapi import Parameter, operation
from web.http.bodies import asked_number, form_fields, idempotency, only_file, optional_json
from web.http.errors import parsed
from web.services import services

blueprint = Blueprint("indexes", __name__)

Wanted = TypeVar("Wanted", bound=Contract)


class GoldenUpload(GoldenIn):
    """The multipart form of a golden query."""

    image: bytes


@blueprint.get("/v1/catalogues/<catalogue>/indexes")
@operation(
    "A catalogue's index versions, the newest first", "Index versions", {200: [IndexOut]}, errors=(404,)
)
def every(catalogue: str) -> Response:
    found = services().indexes.list_versions(checked("catalogue", catalogue))
    return jsonify([each.model_dump(mode="json") for each in found])


@blueprint.post("/v1/catalogues/<catalogue>/reprocess")
@operation(
    "Put the catalogue's pictures through its models again, in place, or through others, into a new index",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": ReprocessRequest},
    parameters=(REPEATABLE,),
    errors=(400, 404, 409, 422, 503),
)
def reprocess(catalogue: str) -> Response:
    name, wanted = checked("catalogue", catalogue), _wanted(ReprocessRequest)
    repeat = idempotency("reprocess", name, wanted)
    return job_answer(services().indexes.reprocess(name, wanted, repeat))


@blueprint.post("/v1/catalogues/<catalogue>/promote")
@operation(
    "Make an index that is ready the live one",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": PromoteRequest},
    errors=(400, 404, 409, 422, 503),
)
def promote(catalogue: str) -> Response:
    wanted = _wanted(PromoteRequest)
    return job_answer(services().indexes.promote(checked("catalogue", catalogue), wanted))


@blueprint.post("/v1/catalogues/<catalogue>/rollback")
@operation(
    "Make the index that was live before live again, and give it what changed since",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": RollbackRequest},
    errors=(400, 404, 409, 422, 503),
)
def rollback(catalogue: str) -> Response:
    wanted = _wanted(RollbackRequest)
    return job_answer(services().indexes.rollback(checked("catalogue", catalogue), wanted))


@blueprint.post("/v1/catalogues/<catalogue>/prune")
@operation(
    "Drop index versions that nobody goes back to",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": PruneRequest},
    errors=(400, 404, 409, 422, 503),
)
def prune(catalogue: str) -> Response:
    return job_answer(services().indexes.prune(checked("catalogue", catalogue), _wanted(PruneRequest)))


@blueprint.post("/v1/catalogues/<catalogue>/rebuild")
@operation(
    "Write an index anew from the database, after Milvus was wiped or replaced",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": ChooseIndex},
    errors=(400, 404, 409, 422, 503),
)
def rebuild(catalogue: str) -> Response:
    wanted = _wanted(ChooseIndex)
    return job_answer(services().indexes.rebuild(checked("catalogue", catalogue), wanted.index))


@blueprint.get("/v1/catalogues/<catalogue>/golden")
@operation(
    "Photos whose right answer is known",
    "Index versions",
    {200: [GoldenOut]},
    parameters=(
        Parameter("after", "The id of the last one of the page before"),
        Parameter("limit", "1 to 1000; 1000 if left out", type="integer"),
    ),
    errors=(404, 422),
)
def golden(catalogue: str) -> Response:
    limit = asked_number("limit", 1, 1000, 1000)
    found = services().golden.list_page(checked("catalogue", catalogue), request.args.get("after"), limit)
    return jsonify([each.model_dump(mode="json") for each in found])


@blueprint.post("/v1/catalogues/<catalogue>/golden")
@operation(
    "Add a photo and the product that it shows",
    "Index versions",
    {201: GoldenOut},
    bodies={"multipart/form-data": GoldenUpload},
    errors=(400, 404, 411, 413, 415, 422),
)
def add_golden(catalogue: str) -> tuple[Response, int]:
    name, parts = checked("catalogue", catalogue), services()
    wanted = parsed(GoldenIn, form_fields(lists=("box",)))
    photo = only_file("image")
    parts.photos.probe(photo)
    parts.catalogue.product(name, wanted.product_id)  # or the photo of a query that is refused would stay
    made = parts.golden.add(name, wanted, parts.store.put(photo, "golden"))
    return jsonify(made.model_dump(mode="json")), 201


@blueprint.delete("/v1/catalogues/<catalogue>/golden/<golden_id>")
@operation("Remove a golden query", "Index versions", {204: None}, errors=(404,))
def remove_golden(catalogue: str, golden_id: str) -> tuple[str, int]:
    parts = services()
    photo = parts.golden.remove(checked("catalogue", catalogue), golden_id)
    if photo is not None:
        parts.store.delete(photo, "golden")
    return "", 204


def _wanted(model: type[Wanted]) -> Wanted:
    return parsed(model, optional_json())
