"""What the columns of a catalogue's manifests mean, as its owner stated."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from shared.contracts import Contract
from shared.contracts.imports import ImportMapping
from shared.imports.mapping import check_fields
from web.api.openapi import operation
from web.http.bodies import parse_model, read_json
from web.services import services

blueprint = Blueprint("import_mappings", __name__)


class MappingBody(Contract):
    """Columns by the field that they mean; empty: the names of the columns tell."""

    mapping: ImportMapping


@blueprint.get("/v1/catalogues/<catalogue>/mapping")
@operation("Get the kept mapping of import columns", "Imports", {200: MappingBody})
def get_mapping(catalogue: str) -> Response:
    return jsonify({"mapping": services().catalogue.import_mapping(catalogue)})


@blueprint.put("/v1/catalogues/<catalogue>/mapping")
@operation(
    "Keep a mapping of columns for later imports",
    "Imports",
    {200: MappingBody},
    bodies={"application/json": MappingBody},
)
def put_mapping(catalogue: str) -> Response:
    wanted = parse_model(MappingBody, read_json())
    check_fields(wanted.mapping)
    services().catalogue.set_import_mapping(catalogue, wanted.mapping)
    return get_mapping(catalogue)
