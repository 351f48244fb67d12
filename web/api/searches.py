"""Searches by photo, product or earlier photo: create, poll and cancel them."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import datetime

from flask import Blueprint, Response, g, jsonify, request, url_for
from pydantic import Field

from shared.broker.result_channel import Notification
from shared.broker.task_names import TaskName
from shared.contracts import SearchOptions, SearchRequest, TaskStatus
from shared.contracts.states import OPEN_STATES, SearchState
from shared.database.clock import to_datetime
from shared.database.idempotency import AcceptedRequest
from shared.errors import Expired, InvalidInput, NotFound, Overloaded, UnsupportedFormat
from shared.filters import parse
from shared.process.metrics import PUBLISHES_FAILED, SEARCHES_ACCEPTED, SEARCHES_REFUSED
from shared.searches.cursors import read_cursor
from shared.searches.repository import SearchSource
from web.api.openapi import Parameter, operation
from web.api.waiting import explain_wait
from web.http.bodies import parse_model, read_files, read_form, read_idempotency, read_json
from web.http.url_fetches import fetch_query_image
from web.i18n.money import current_rates
from web.services import Services, services

blueprint = Blueprint("searches", __name__)

#: Maximum number of photos of one item in one search.
MAX_PHOTOS = 5
_SOURCES = ("image_url", "product_id", "query_id")
#: Fields allowed in a request for a further page; the others come from the first page.
_PAGE_FIELDS = {"after", "top_k", "locale", "currency"}
#: Waiters are notified over pub/sub. They also poll, because pub/sub can drop messages.
_POLL_INTERVAL_S = 1.0
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
    errors=(400, 401, 404, 409, 411, 413, 415, 422, 429, 503),
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


def accept_search(body: SearchRequest | None = None) -> AcceptedRequest:
    """Store the photos, commit the search and publish its task; an accepted search is never lost.

    Args:
        body: a search without an upload, such as that of a page's form; None: the body of the HTTP request.

    Raises:
        VitrineError: the request is invalid or refused; nothing was accepted.
    """
    parts = services()
    _enforce_limits(parts)
    if body is not None or request.mimetype == "application/json":
        options, source = _resolve_source(parts, body or parse_model(SearchRequest, read_json()))
    elif request.mimetype == "multipart/form-data":
        options = parse_model(SearchOptions, read_form(lists=("box", "like", "unlike")))
        photos = read_files("image", MAX_PHOTOS)
        source = _store_photos(parts, _validate(parts, options), photos)
    else:
        raise UnsupportedFormat(
            "Send multipart/form-data with a file field `image`, or application/json.", "Content-Type"
        )
    accepted = parts.searches.accept(
        options.catalogue,
        options,
        source,
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
    """Raise Overloaded if an address searches too often or too many searches are waiting."""
    parts.disk.require_space()
    wait_s = parts.rate.count(request.remote_addr or "")
    if wait_s is not None:
        SEARCHES_REFUSED.inc()
        g.retry_after_s = wait_s
        limit = parts.settings.web.searches_per_minute
        raise Overloaded(f"More than {limit} searches per minute came from your address. Try again later.")
    waiting = parts.searches.count_waiting()
    if waiting >= parts.settings.search.max_waiting:
        SEARCHES_REFUSED.inc()
        raise Overloaded(f"{waiting} searches are already waiting. Try again shortly.")


def _resolve_source(parts: Services, body: SearchRequest) -> tuple[SearchOptions, SearchSource]:
    """Return options and source of a search without an upload."""
    if body.after is not None:
        return _resolve_next_page(parts, body, body.after)
    sources = [name for name in _SOURCES if getattr(body, name) is not None]
    if len(sources) > 1 or not (sources or body.like):
        raise InvalidInput("Send exactly one of image_url, product_id and query_id, or like.", "image_url")
    given = body.model_dump(exclude=set(_SOURCES), exclude_unset=True)
    options = _validate(parts, SearchOptions.model_validate(given))
    if body.query_id is not None:
        source = _find_source(parts, body.query_id)
        # A box refers to the first photo only, so the others are left out.
        return options, source if body.box is None else replace(source, more_photos=())
    if body.image_url is None:
        return options, SearchSource(product_id=body.product_id)
    if not parts.settings.web.url_import:
        raise InvalidInput("URL import is off. Upload the picture.", "image_url")
    return options, _store_photos(parts, options, [fetch_query_image(body.image_url)])


def _resolve_next_page(
    parts: Services, body: SearchRequest, after: str
) -> tuple[SearchOptions, SearchSource]:
    """Return options and source of a further page: those of the first page, with what ``body`` changes."""
    others = sorted(body.model_fields_set - _PAGE_FIELDS)
    if others:
        raise InvalidInput(
            f"A further page takes only after, top_k, locale and currency. Remove {others[0]}.",
            others[0],
        )
    first = parts.searches.load_earlier(read_cursor(after).search)
    if first.state != "succeeded":
        raise InvalidInput("The search of the first page did not succeed.", "after")
    chosen = {name: getattr(body, name) for name in body.model_fields_set}
    return _validate(parts, first.options.model_copy(update=chosen)), first.source


def _store_photos(parts: Services, options: SearchOptions, photos: list[bytes]) -> SearchSource:
    """Encode the photos again in a child process, and store them."""
    if options.after is not None:
        raise InvalidInput("Request a further page as JSON, without the photo.", "after")
    if options.box is not None and len(photos) > 1:
        raise InvalidInput("A box applies to one photo. Send only that photo.", "box")
    keys, limits = [], parts.settings.images
    for data in photos:
        picture = parts.photos.normalise(data, limits.query_side_px, limits.query_max_bytes)
        keys.append(parts.store.put(picture.jpeg, "queries"))
    return SearchSource(keys[0], tuple(keys[1:]))


def _find_source(parts: Services, query_id: str) -> SearchSource:
    """Return the source of an earlier search by photo."""
    earlier = parts.searches.load_earlier(query_id)
    key = earlier.source.query_key
    if key is None:
        raise InvalidInput("That search was by product and has no photo.", "query_id")
    if not earlier.embedded and not parts.store.exists(key, "queries"):
        raise Expired("The photo of that search has expired. Send it again.", "query_id")
    return earlier.source


def _validate(parts: Services, options: SearchOptions) -> SearchOptions:
    """Return the options; raise InvalidInput for a wrong top_k, currency, filter or boost."""
    limit = parts.settings.search.top_k_max
    if options.top_k > limit:
        raise InvalidInput(f"top_k: at most {limit} hits per group.", "top_k")
    currency = options.currency
    if currency is not None and ((rates := current_rates()) is None or currency not in rates.currencies):
        raise InvalidInput(
            f"There is no rate for {currency}: `vitrine rates show` lists the currencies.", "currency"
        )
    if options.filter is not None:
        parse(options.filter)
    for boost in options.boosts or ():
        parse(boost.filter)
    return options


def requested_wait_s() -> float:
    """Return the seconds of `Prefer: wait=N`, at most those that the settings allow; 0 without it."""
    found = _WAIT_PREFERENCE.search(request.headers.get("Prefer", ""))
    return min(float(found[1]), services().settings.web.wait_max_s) if found else 0.0


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
    errors=(404, 410),
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
@operation("Cancel a search", "Searches", {200: TaskStatus}, errors=(404, 410))
def cancel_search(task_id: str) -> Response:
    return jsonify(services().searches.cancel(task_id).model_dump(mode="json"))


@blueprint.get("/v1/searches/<task_id>/image")
@operation("Get the photo of a search", "Searches", {200: "image/jpeg"}, errors=(404, 410))
def get_search_photo(task_id: str) -> Response:
    data = load_query_photo(task_id)
    if data is None:
        raise NotFound("That search was by product and has no photo.")
    answer = Response(data, mimetype="image/jpeg")
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer


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
