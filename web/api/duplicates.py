"""Duplicates of a catalogue: find them with a job, list them in pages, export them as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from flask import Blueprint, Response, jsonify, request

from shared.catalogue.duplicates import KIND, MAX_PAGE
from shared.contracts import JobOut
from shared.contracts.duplicates import DuplicateGroup, DuplicateKind, DuplicatePage, DuplicatesRequest
from shared.contracts.stored import stored
from shared.errors import InvalidInput
from web.api.catalogues import answer_with_job, check_name
from web.api.jobs import caller_jobs
from web.api.openapi import Parameter, operation
from web.http.bodies import parse_model, read_number, read_optional_json
from web.http.csv_safety import csv_line
from web.services import services

blueprint = Blueprint("duplicates", __name__)

_KIND = Parameter("kind", "exact or near; default: both")
_COLUMNS = ("group", "kind", "keep", "product_id", "title", "similarity", "image_url")


@blueprint.post("/v1/catalogues/<catalogue>/duplicates")
@operation(
    "Find products that show the same item",
    "Duplicates",
    {202: JobOut},
    bodies={"application/json": DuplicatesRequest},
)
def find_duplicates(catalogue: str) -> Response:
    name = check_name("catalogue", catalogue)
    body = parse_model(DuplicatesRequest, read_optional_json())
    return answer_with_job(caller_jobs().create(KIND, name, stored(body)))


@blueprint.get("/v1/catalogues/<catalogue>/duplicates")
@operation(
    "List the groups that the last duplicate search found, in pages",
    "Duplicates",
    {200: DuplicatePage},
    parameters=(
        _KIND,
        Parameter("cursor", "The next_cursor of the previous page"),
        Parameter("limit", f"Groups: 1 to {MAX_PAGE}; default 50", type="integer"),
        Parameter("locale", "Locale of titles; default en"),
    ),
    errors=(410,),
)
def list_duplicates(catalogue: str) -> Response:
    page = services().duplicates.groups(
        check_name("catalogue", catalogue),
        read_kind(),
        request.args.get("cursor"),
        read_number("limit", 1, MAX_PAGE, 50),
        request.args.get("locale", "en"),
    )
    return jsonify(page.model_dump(mode="json"))


@blueprint.get("/v1/catalogues/<catalogue>/duplicates.csv")
@operation(
    "Export all groups as CSV, one line per product; no cell runs as a formula",
    "Duplicates",
    {200: "text/csv"},
    parameters=(_KIND,),
)
def export_duplicates(catalogue: str) -> Response:
    name, kind, duplicates = check_name("catalogue", catalogue), read_kind(), services().duplicates
    duplicates.groups(name, kind, None, 1)  # raises its errors before the first byte is sent
    answer = Response(_to_csv(duplicates.iterate_all(name, kind)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="duplicates.csv"'
    return answer


def _to_csv(groups: Iterator[DuplicateGroup]) -> Iterator[str]:
    yield csv_line(_COLUMNS)
    for group in groups:
        for product in group.products:
            keep = "yes" if product.product_id == group.keep else ""
            score = f"{product.similarity:.4f}"
            yield csv_line(
                (group.id, group.kind, keep, product.product_id, product.title, score, product.image_url)
            )


def read_kind() -> DuplicateKind | None:
    """Read the query parameter ``kind``, None for both; raise InvalidInput for other values."""
    kind = request.args.get("kind")
    if kind not in (None, "exact", "near"):
        raise InvalidInput("kind must be exact or near.", "kind")
    return cast(DuplicateKind | None, kind)
