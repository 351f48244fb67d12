"""Feedback on hits: add it if the operator allows it, list it and export it."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, jsonify

from shared.contracts.feedback import FeedbackIn, FeedbackOut
from shared.database.tables import MAX_ROW_ID
from shared.errors import NotFound, Refused
from shared.searches.feedback import PHOTOS
from web.api.catalogues import check_name
from web.api.openapi import Parameter, operation
from web.http.bodies import parse_model, read_json, read_number
from web.http.csv_safety import csv_line
from web.http.principals import current_principal
from web.http.scope import require_search
from web.services import services

blueprint = Blueprint("feedback", __name__)

MAX_PAGE = 1000
_COLUMNS = ("id", "query_id", "object", "product_id", "kind", "rank", "score", "created_at")


@blueprint.post("/v1/feedback")
@operation(
    "Record what a shopper did with a hit, once per hit and kind. Off unless the operator allows it",
    "Feedback",
    {201: FeedbackOut, 200: FeedbackOut},
    bodies={"application/json": FeedbackIn},
    errors=(404, 409, 410),
)
def add_feedback() -> tuple[Response, int]:
    parts = services()
    if not parts.settings.feedback.enabled:
        raise Refused("Feedback is off. The operator enables it with VITRINE_FEEDBACK__ENABLED=true.")
    body = parse_model(FeedbackIn, read_json())
    require_search(current_principal(), body.query_id)
    feedback = parts.feedback.check(body)
    stored, created = parts.feedback.add(feedback, _copy_photo(feedback.photo))
    return jsonify(stored.model_dump(mode="json")), 201 if created else 200


def _copy_photo(key: str | None) -> str | None:
    """Copy the photo of a search to permanent storage; return None if it has expired."""
    if key is None:
        return None
    store = services().store
    try:
        return store.put(store.get(key, "queries"), PHOTOS)
    except NotFound:
        return None


@blueprint.get("/v1/catalogues/<catalogue>/feedback")
@operation(
    "List the feedback on a catalogue's hits, oldest first",
    "Feedback",
    {200: [FeedbackOut]},
    parameters=(
        Parameter("after", "The id of the last entry of the previous page"),
        Parameter("limit", f"1 to {MAX_PAGE}; default {MAX_PAGE}", type="integer"),
    ),
)
def list_feedback(catalogue: str) -> Response:
    after = read_number("after", 0, MAX_ROW_ID, 0)
    limit = read_number("limit", 1, MAX_PAGE, MAX_PAGE)
    found = services().feedback.list_page(check_name("catalogue", catalogue), after, limit)
    return jsonify([each.model_dump(mode="json") for each in found])


@blueprint.get("/v1/catalogues/<catalogue>/feedback.csv")
@operation(
    "Export all feedback as CSV; no cell runs as a formula",
    "Feedback",
    {200: "text/csv"},
)
def export_feedback(catalogue: str) -> Response:
    name, feedback = check_name("catalogue", catalogue), services().feedback
    feedback.list_page(name, 0, 1)  # raises its errors before the first byte is sent
    answer = Response(_to_csv(feedback.iterate_all(name)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="feedback.csv"'
    return answer


@blueprint.get("/v1/feedback/<int:feedback_id>/photo")
@operation("Get the photo of a feedback entry", "Feedback", {200: "image/jpeg"})
def get_feedback_photo(feedback_id: int) -> Response:
    if feedback_id > MAX_ROW_ID:
        raise NotFound("There is no such feedback.")
    parts = services()
    key = parts.feedback.photo(feedback_id)
    return Response(parts.store.get(key, PHOTOS), mimetype="image/jpeg")


def _to_csv(entries: Iterator[FeedbackOut]) -> Iterator[str]:
    yield csv_line(_COLUMNS)
    for f in entries:
        number = "" if f.object is None else str(f.object)
        place = (str(f.id), f.query_id, number, f.product_id)
        yield csv_line((*place, f.kind, str(f.rank), f"{f.score:.4f}", f.created_at.isoformat()))
