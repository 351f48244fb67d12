"""Feedback on hits: said by shops, where the operator allows it, and read by whoever judges the search."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, jsonify

from shared.contracts.feedback import FeedbackIn, FeedbackOut
from shared.database.tables import MAX_ROW_ID
from shared.errors import NotFound, Refused
from shared.searches.feedback import PHOTOS, FeedbackRepository
from web.api.catalogues import checked
from web.api.openapi import Parameter, operation
from web.http.bodies import asked_number, json_body
from web.http.csv_safety import csv_line
from web.http.errors import parsed
from web.services import services

blueprint = Blueprint("feedback", __name__)

MAX_PAGE = 1000
_COLUMNS = ("id", "query_id", "object", "product_id", "kind", "rank", "score", "created_at")


@blueprint.post("/v1/feedback")
@operation(
    "Say what somebody did with a hit; the same said twice is kept once. Off unless the operator allows it",
    "Feedback",
    {201: FeedbackOut, 200: FeedbackOut},
    bodies={"application/json": FeedbackIn},
    errors=(400, 403, 404, 409, 410, 422),
)
def say() -> tuple[Response, int]:
    parts = services()
    if not parts.settings.feedback.enabled:
        raise Refused(
            "Feedback is not kept here: the operator allows it with VITRINE_FEEDBACK__ENABLED=true."
        )
    ledger = FeedbackRepository(parts.database)
    said = ledger.check(parsed(FeedbackIn, json_body()))
    kept, new = ledger.add(said, _kept_photo(said.photo))
    return jsonify(kept.model_dump(mode="json")), 201 if new else 200


def _kept_photo(key: str | None) -> str | None:
    """Copy the photo of a search to where it outlives its time to live; None where it is gone by now."""
    if key is None:
        return None
    store = services().store
    try:
        return store.put(store.get(key, "queries"), PHOTOS)
    except NotFound:
        return None


@blueprint.get("/v1/catalogues/<catalogue>/feedback")
@operation(
    "What was said of a catalogue's hits, the oldest first",
    "Feedback",
    {200: [FeedbackOut]},
    parameters=(
        Parameter("after", "The id of the last one of the page before"),
        Parameter("limit", f"1 to {MAX_PAGE}; {MAX_PAGE} if left out", type="integer"),
    ),
    errors=(404, 422),
)
def some(catalogue: str) -> Response:
    after = asked_number("after", 0, MAX_ROW_ID, 0)
    limit = asked_number("limit", 1, MAX_PAGE, MAX_PAGE)
    found = FeedbackRepository(services().database).list_page(checked("catalogue", catalogue), after, limit)
    return jsonify([each.model_dump(mode="json") for each in found])


@blueprint.get("/v1/catalogues/<catalogue>/feedback.csv")
@operation(
    "The same as a CSV file, all of it; no cell runs as a formula",
    "Feedback",
    {200: "text/csv"},
    errors=(404,),
)
def as_csv(catalogue: str) -> Response:
    name, ledger = checked("catalogue", catalogue), FeedbackRepository(services().database)
    ledger.list_page(name, 0, 1)  # an error must come before the first byte
    answer = Response(_csv(ledger.iterate_all(name)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="feedback.csv"'
    return answer


@blueprint.get("/v1/feedback/<int:feedback_id>/photo")
@operation("The photo that feedback is about", "Feedback", {200: "image/jpeg"}, errors=(404,))
def photo(feedback_id: int) -> Response:
    if feedback_id > MAX_ROW_ID:
        raise NotFound("There is no such feedback.")
    parts = services()
    key = FeedbackRepository(parts.database).photo(feedback_id)
    return Response(parts.store.get(key, PHOTOS), mimetype="image/jpeg")


def _csv(found: Iterator[FeedbackOut]) -> Iterator[str]:
    yield csv_line(_COLUMNS)
    for f in found:
        number = "" if f.object is None else str(f.object)
        place = (str(f.id), f.query_id, number, f.product_id)
        yield csv_line((*place, f.kind, str(f.rank), f"{f.score:.4f}", f.created_at.isoformat()))
