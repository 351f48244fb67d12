"""Duplicates of a catalogue: a job looks for them, and its groups are shown page by page or as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from flask import Blueprint, Response, jsonify, request

from shared.catalogue.duplicates import KIND, MAX_PAGE, DuplicateRepository
from shared.contracts import JobOut
from shared.contracts.duplicates import DuplicateGroup, DuplicateKind, DuplicatePage, DuplicatesRequest
from shared.contracts.stored import stored
from shared.errors import InvalidInput
from web.api.catalogues import checked, job_answer
from web.api.jobs import caller_jobs
from web.api.openapi import Parameter, operation
from web.http.bodies import asked_number, optional_json
from web.http.csv_safety import csv_line
from web.http.errors import parsed
from web.services import services

blueprint = Blueprint("duplicates", __name__)

_KIND = Parameter("kind", "exact or near; both if left out")
_COLUMNS = ("group", "kind", "keep", "product_id", "title", "similarity", "image_url")


@blueprint.post("/v1/catalogues/<catalogue>/duplicates")
@operation(
    "Look for products that show the same thing",
    "Duplicates",
    {202: JobOut},
    bodies={"application/json": DuplicatesRequest},
    errors=(400, 404, 422, 503),
)
def look(catalogue: str) -> Response:
    name = checked("catalogue", catalogue)
    wanted = parsed(DuplicatesRequest, optional_json())
    return job_answer(caller_jobs().create(KIND, name, stored(wanted)))


@blueprint.get("/v1/catalogues/<catalogue>/duplicates")
@operation(
    "The groups that the last such job found, page by page",
    "Duplicates",
    {200: DuplicatePage},
    parameters=(
        _KIND,
        Parameter("cursor", "The next_cursor of the page before"),
        Parameter("limit", f"Groups: 1 to {MAX_PAGE}; 50 if left out", type="integer"),
        Parameter("locale", "Of titles; en if left out"),
    ),
    errors=(404, 410, 422),
)
def groups(catalogue: str) -> Response:
    page = _ledger().groups(
        checked("catalogue", catalogue),
        asked_kind(),
        request.args.get("cursor"),
        asked_number("limit", 1, MAX_PAGE, 50),
        request.args.get("locale", "en"),
    )
    return jsonify(page.model_dump(mode="json"))


@blueprint.get("/v1/catalogues/<catalogue>/duplicates.csv")
@operation(
    "All groups as a CSV file, a line a product; no cell runs as a formula",
    "Duplicates",
    {200: "text/csv"},
    parameters=(_KIND,),
    errors=(404, 422),
)
def groups_csv(catalogue: str) -> Response:
    name, kind, ledger = checked("catalogue", catalogue), asked_kind(), _ledger()
    ledger.groups(name, kind, None, 1)  # an error must come before the first byte
    answer = Response(_csv(ledger.iterate_all(name, kind)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="duplicates.csv"'
    return answer


def _csv(found: Iterator[DuplicateGroup]) -> Iterator[str]:
    yield csv_line(_COLUMNS)
    for group in found:
        for each in group.products:
            keep = "yes" if each.product_id == group.keep else ""
            score = f"{each.similarity:.4f}"
            yield csv_line((group.id, group.kind, keep, each.product_id, each.title, score, each.image_url))


def asked_kind() -> DuplicateKind | None:
    """The kind that the address asks for, None for both; raises InvalidInput for another word."""
    kind = request.args.get("kind")
    if kind not in (None, "exact", "near"):
        raise InvalidInput("kind: exact or near.", "kind")
    return cast(DuplicateKind | None, kind)


def _ledger() -> DuplicateRepository:
    return services().duplicates
