"""Searches by photo, product or earlier photo: create, poll and cancel them."""

from __future__ import annotations

import re
import time
from datetime import datetime

from flask import Blueprint, Response, jsonify, request, url_for
from pydantic import Field
from werkzeug.wrappers import Response as AnyResponse

from shared.broker.result_channel import Notification
from shared.broker.task_names import TaskName
from shared.contracts import SearchOptions, SearchRequest, TaskStatus
from shared.contracts.states import OPEN_STATES, SearchState
from shared.database.clock import to_datetime
from shared.database.idempotency import AcceptedRequest
from shared.errors import Expired, NotFound, Overloaded, UnsupportedFormat
from shared.process.metrics import PUBLISHES_FAILED, SEARCHES_ACCEPTED, SEARCHES_REFUSED
from web.api.openapi import Parameter, operation
from web.api.search_sources import resolve_source, store_photos, validate_options
from web.api.waiting import explain_wait
from web.http.bodies import parse_model, read_files, read_form, read_idempotency, read_json
from web.http.principals import current_principal
from web.http.rate_limits import limit_search
from web.http.scope import may_read_photo, owns_photo, unknown_search
from web.i18n.money import current_rates
from web.services import Services, services

blueprint = Blueprint("searches", __name__)

#: Maximum number of photos of one item in one search.
MAX_PHOTOS = 5
#: Waiters are notified over pub/sub. They also poll, because pub/sub can drop messages.
_POLL_INTERVAL_S = 1.0
#: Maximum seconds of `Prefer: wait`: proxies cut requests of a minute, and the request keeps its thread.
_MAX_WAIT_S = 20.0
_WAIT_PREFERENCE = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")
COMMON_PARAMETERS = (
    Parameter("Prefer", "wait=N: answer 200 with the result if it is ready within N seconds", "header"),
    Parameter("Idempotency-Key", "Requests with the same key and content create one search", "header"),
)


class SearchUpload(SearchOptions):
    """The multipart form of a search: photos and options."""

    image: bytes = Field(
        description="The photo: JPEG, PNG, WEBP, AVIF or HEIC. Up to five such fields show the same item"
    )


@blueprint.post("/v1/searches")
@operation(
    "Search by a photo, a product or an earlier photo",
    "Searches",
    {202: TaskStatus, 200: TaskStatus},
    bodies={"multipart/form-data": SearchUpload, "application/json": SearchRequest},
    parameters=COMMON_PARAMETERS,
    errors=(404, 409),
)
def create_search() -> Response:
    """Accept a search; answer 202 with the address to poll, or 200 with the result after waiting."""
    return answer_search(accept_search())


def answer_search(accepted: AcceptedRequest) -> Response:
    """Answer an accepted search, waiting as long as the caller prefers."""
    seconds = requested_wait_s()
    ended = None if seconds <= 0 else wait_for_end(accepted.id, seconds, just_created=accepted.created)
    if ended is not None and ended.status:
        # The worker published the answer with the notification, so no database read is needed.
        answer = Response(ended.status, mimetype="application/json")
    elif seconds <= 0 and accepted.created:
        # No database read either: it was committed a moment ago.
        queued = {"state": SearchState.QUEUED, "created_at": to_datetime(accepted.created_at)}
        answer = jsonify(TaskStatus.model_validate({"id": accepted.id, **queued}).model_dump(mode="json"))
        answer.status_code = 202
    else:
        status = services().searches.status_json(accepted.id, current_rates)
        answer = jsonify(status)
        # Callers that did not ask to wait always get 202, even if the worker has already finished.
        if seconds <= 0 or status["state"] in OPEN_STATES:
            answer.status_code = 202
    if answer.status_code == 202:
        answer.headers["Retry-After"] = "1"
    answer.headers["Location"] = url_for("searches.poll_search", task_id=accepted.id)
    return answer


def accept_search(body: SearchRequest | None = None, *, by_link: bool = False) -> AcceptedRequest:
    """Store the photos, commit the search and publish its task; an accepted search is never lost.

    Args:
        body: a search without an upload, such as that of a page's form; None: the body of the HTTP request.
        by_link: it may repeat a search of another shopper, whose link was shared; the photo stays hidden.

    Raises:
        VitrineError: the request is invalid or refused; nothing was accepted.
    """
    parts = services()
    _enforce_limits(parts)
    if body is not None or request.mimetype == "application/json":
        options, source = resolve_source(parts, body or parse_model(SearchRequest, read_json()), by_link)
    elif request.mimetype == "multipart/form-data":
        options = parse_model(SearchOptions, read_form(lists=("box", "like", "unlike")))
        photos = read_files("image", MAX_PHOTOS)
        options = validate_options(parts, options)
        source = store_photos(parts, options, photos)
    else:
        raise UnsupportedFormat(
            "Send multipart/form-data with a file field `image`, or application/json.", "Content-Type"
        )
    accepted = parts.searches.accept(
        options.catalogue,
        options,
        source,
        owner=current_principal().owner,
        ttl_s=parts.settings.search.result_ttl_s,
        idempotency=read_idempotency(options, repr(source)),
    )
    # A repeated request publishes nothing.
    if accepted.created:
        SEARCHES_ACCEPTED.inc()
        if not parts.publisher.publish(TaskName.ANSWER_SEARCH, accepted.id, {"catalogue": options.catalogue}):
            PUBLISHES_FAILED.inc()
            parts.broker.expire()
    return accepted


def _enforce_limits(parts: Services) -> None:
    """Raise Overloaded if an address searches too often, or too many searches are waiting."""
    parts.disk.require_space()
    limit_search(current_principal())
    waiting = parts.searches.count_waiting()
    if waiting >= parts.settings.search.max_waiting:
        SEARCHES_REFUSED.inc()
        raise Overloaded(f"{waiting} searches are already waiting. Try again shortly.")


def requested_wait_s() -> float:
    """Return the seconds of `Prefer: wait=N`, at most those that the settings allow; 0 without it."""
    found = _WAIT_PREFERENCE.search(request.headers.get("Prefer", ""))
    return min(float(found[1]), _MAX_WAIT_S) if found else 0.0


def wait_for_end(search_id: str, seconds: float, *, just_created: bool = False) -> Notification | None:
    """Wait up to ``seconds`` for the end of a search if a waiter slot is free; return the notification.

    Args:
        just_created: the search was created by this request, so it has not ended yet.

    Returns:
        None if it has not ended, or had ended before, or no slot is free.
    """
    parts = services()
    if seconds <= 0 or not parts.waiters.acquire(blocking=False):
        return None
    try:
        end = time.monotonic() + seconds
        with parts.result_waiter.waiting_for(search_id) as pending:
            # A new search has not ended yet, so the database read is skipped.
            is_open = just_created or parts.searches.is_open(search_id)
            while is_open and (left := end - time.monotonic()) > 0:
                if (ended := pending.wait(min(_POLL_INTERVAL_S, left))) is not None:
                    return ended
                is_open = parts.searches.is_open(search_id)
        return None
    finally:
        parts.waiters.release()


@blueprint.get("/v1/tasks/<task_id>")
@operation(
    "Get the state of a search, with its result when it is ready",
    "Searches",
    {200: TaskStatus},
    errors=(410,),
)
def poll_search(task_id: str) -> Response:
    status = services().searches.status_json(task_id, current_rates)
    if status["state"] not in OPEN_STATES:
        return jsonify(status)
    reason = explain_wait(status["state"], datetime.fromisoformat(status["created_at"]))
    if reason is not None:
        status["waiting_for"] = reason.model_dump(mode="json")
    answer = jsonify(status)
    answer.headers["Retry-After"] = "1"
    return answer


@blueprint.delete("/v1/tasks/<task_id>")
@operation("Cancel a search", "Searches", {200: TaskStatus}, errors=(410,))
def cancel_search(task_id: str) -> Response:
    return jsonify(services().searches.cancel(task_id).model_dump(mode="json"))


@blueprint.delete("/v1/searches/<task_id>")
@operation(
    "Delete a search with its photo, vectors and repetitions; its address then answers 410",
    "Searches",
    {204: None},
    errors=(410,),
)
def delete_search(task_id: str) -> tuple[str, int]:
    delete_own_search(task_id)
    return "", 204


def delete_own_search(search_id: str) -> None:
    """Delete a search; also the photo and what repeats it, if the caller sent the photo."""
    parts = services()
    with_photo = owns_photo(current_principal(), search_id)
    for photo in parts.search_deletion.delete(search_id, with_photo=with_photo):
        parts.store.delete(photo.key, photo.kind)


@blueprint.get("/v1/searches/<search_id>/image")
@operation("Get the photo of a search", "Searches", {200: "image/jpeg"}, errors=(410,))
def get_search_photo(search_id: str) -> AnyResponse:
    if not may_read_photo(current_principal(), search_id):
        raise unknown_search(search_id)
    data = load_query_photo(search_id)
    if data is None:
        raise NotFound("That search was by product and has no photo.")
    answer = Response(data, mimetype="image/jpeg")
    # Browsers ask each time, so that none shows a photo that was deleted, or is hidden again.
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.add_etag()
    return answer.make_conditional(request)


def load_query_photo(search_id: str) -> bytes | None:
    """Load the photo of a search as JPEG; return None for a search by product.

    Raises:
        Expired: the photo was deleted.
    """
    key = services().searches.query_key(search_id)
    if key is None:
        return None
    if not services().store.exists(key, "queries"):
        raise Expired("The photo of this search has expired.")
    return services().store.get(key, "queries")
