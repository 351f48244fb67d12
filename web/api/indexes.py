"""Index versions and golden queries: list, re-process, promote, roll back, prune and rebuild."""

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
from web.api.catalogues import REPEATABLE, answer_with_job, check_name
from web.api.openapi import Parameter, operation
from web.http.bodies import (
    parse_model,
    read_form,
    read_idempotency,
    read_number,
    read_optional_json,
    read_single_file,
)
from web.services import services

blueprint = Blueprint("indexes", __name__)

Model = TypeVar("Model", bound=Contract)


class GoldenUpload(GoldenIn):
    """The multipart form of a golden query."""

    image: bytes


@blueprint.get("/v1/catalogues/<catalogue>/indexes")
@operation("List a catalogue's index versions, newest first", "Index versions", {200: [IndexOut]})
def list_indexes(catalogue: str) -> Response:
    found = services().indexes.list_versions(check_name("catalogue", catalogue))
    return jsonify([each.model_dump(mode="json") for each in found])


@blueprint.post("/v1/catalogues/<catalogue>/reprocess")
@operation(
    "Re-process the catalogue's pictures: with the same models in place, with others into a new index",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": ReprocessRequest},
    parameters=(REPEATABLE,),
    errors=(409,),
)
def reprocess_catalogue(catalogue: str) -> Response:
    name, body = check_name("catalogue", catalogue), _read_body(ReprocessRequest)
    repeat = read_idempotency("reprocess", name, body)
    return answer_with_job(services().indexes.reprocess(name, body, repeat))


@blueprint.post("/v1/catalogues/<catalogue>/promote")
@operation(
    "Make a ready index the live one",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": PromoteRequest},
    errors=(409,),
)
def promote_index(catalogue: str) -> Response:
    body = _read_body(PromoteRequest)
    return answer_with_job(services().indexes.promote(check_name("catalogue", catalogue), body))


@blueprint.post("/v1/catalogues/<catalogue>/rollback")
@operation(
    "Make the previous live index live again, after adding later changes to it",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": RollbackRequest},
    errors=(409,),
)
def roll_back_index(catalogue: str) -> Response:
    body = _read_body(RollbackRequest)
    return answer_with_job(services().indexes.rollback(check_name("catalogue", catalogue), body))


@blueprint.post("/v1/catalogues/<catalogue>/prune")
@operation(
    "Drop old index versions",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": PruneRequest},
    errors=(409,),
)
def prune_indexes(catalogue: str) -> Response:
    return answer_with_job(
        services().indexes.prune(check_name("catalogue", catalogue), _read_body(PruneRequest))
    )


@blueprint.post("/v1/catalogues/<catalogue>/rebuild")
@operation(
    "Rebuild an index from the database, after Milvus was wiped or replaced",
    "Index versions",
    {202: JobOut},
    bodies={"application/json": ChooseIndex},
    errors=(409,),
)
def rebuild_index(catalogue: str) -> Response:
    body = _read_body(ChooseIndex)
    return answer_with_job(services().indexes.rebuild(check_name("catalogue", catalogue), body.index))


@blueprint.get("/v1/catalogues/<catalogue>/golden")
@operation(
    "List golden queries: photos whose product is known",
    "Index versions",
    {200: [GoldenOut]},
    parameters=(
        Parameter("after", "The id of the last entry of the previous page"),
        Parameter("limit", "1 to 1000; default 1000", type="integer"),
    ),
)
def list_golden_queries(catalogue: str) -> Response:
    limit = read_number("limit", 1, 1000, 1000)
    found = services().golden.list_page(check_name("catalogue", catalogue), request.args.get("after"), limit)
    return jsonify([each.model_dump(mode="json") for each in found])


@blueprint.post("/v1/catalogues/<catalogue>/golden")
@operation(
    "Add a golden query: a photo and the product that it shows",
    "Index versions",
    {201: GoldenOut},
    bodies={"multipart/form-data": GoldenUpload},
)
def add_golden_query(catalogue: str) -> tuple[Response, int]:
    name, parts = check_name("catalogue", catalogue), services()
    body = parse_model(GoldenIn, read_form(lists=("box",)))
    photo = read_single_file("image")
    parts.photos.probe(photo)
    parts.catalogue.product(name, body.product_id)  # fails before the photo is stored
    made = parts.golden.add(name, body, parts.store.put(photo, "golden"))
    return jsonify(made.model_dump(mode="json")), 201


@blueprint.delete("/v1/catalogues/<catalogue>/golden/<golden_id>")
@operation("Remove a golden query", "Index versions", {204: None})
def remove_golden_query(catalogue: str, golden_id: str) -> tuple[str, int]:
    parts = services()
    photo = parts.golden.remove(check_name("catalogue", catalogue), golden_id)
    if photo is not None:
        parts.store.delete(photo, "golden")
    return "", 204


def _read_body(model: type[Model]) -> Model:
    """Read an optional JSON body as ``model``."""
    return parse_model(model, read_optional_json())
