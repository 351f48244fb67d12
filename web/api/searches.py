"""Searches: a photo, a product or an earlier photo in; a task id out; the answer when it is polled."""

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
from shared.contracts.states import OPEN_STATES
from shared.database.idempotency import AcceptedRequest
from shared.errors import Expired, InvalidInput, NotFound, Overloaded, UnsupportedFormat
from shared.filters import parse
from shared.process.metrics import PUBLISHES_FAILED, SEARCHES_ACCEPTED, SEARCHES_REFUSED
from shared.searches.cursors import read_cursor
from shared.searches.repository import SearchSource
from web.api.openapi import Parameter, operation
from web.api.waiting import reason_of_wait
from web.http.bodies import files_of, form_fields, idempotency, json_body
from web.http.errors import parsed
from web.http.url_fetches import fetch_query_image
from web.i18n.money import rates_in_force
from web.services import services

blueprint = Blueprint("searches", __name__)

#: Most photos of one thing in one search.
MAX_PHOTOS = 5
_SOURCES = ("image_url", "product_id", "query_id")
#: What a further page may be asked with; everything else is as the first page had it.
_OF_A_PAGE = {"after", "top_k", "locale", "currency"}
#: Waiters are notified over pub/sub. They also poll, because pub/sub can drop messages.
_POLL_INTERVAL_S = 1.0
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")
HOW = (
    Parameter("Prefer", "wait=N: answer 200 with the result if it is ready in N seconds", "header"),
    Parameter("Idempotency-Key", "The same key and request make one search", "header"),
)


class SearchUpload(SearchOptions):
    """The multipart form of a search: the picture and the options as fields."""

    image: bytes = Field(
        description="The photo: JPEG, PNG, WEBP, AVIF or HEIC. Up to five of this name are of one thing"
    )


@blueprint.post("/v1/searches")
@operation(
    "Search by a photo, a product or an earlier photo",
    "Searches",
    {202: TaskStatus, 200: TaskStatus},
    bodies={"multipart/form-data": SearchUpload, "application/json": SearchRequest},
    parameters=HOW,
    errors=(400, 401, 404, 409, 411, 413, 415, 422, 429, 503),
)
def create() -> Response:
    """Accept a search: 202 with where to poll, or 200 with the result when the caller waits."""
    return answered(accept_search())


def answered(accepted: AcceptedRequest) -> Response:
    """Answer to an accepted search as its caller wants to wait."""
    seconds = _wanted_s()
    ended = _wait(accepted, seconds)
    if ended is not None and ended.status:
        # As the worker wrote it: neither read from the database nor parsed.
        answer = Response(ended.status, mimetype="application/json")
    else:
        status = services().searches.status_json(accepted.id, rates_in_force())
        answer = jsonify(status)
        # Who did not ask to wait gets 202 always, also where the worker was quicker than this line.
        if seconds <= 0 or status["state"] in OPEN_STATES:
            answer.status_code = 202
            answer.headers["Retry-After"] = "1"
    answer.headers["Location"] = url_for("searches.poll", task_id=accepted.id)
    return answer


def accept_search() -> AcceptedRequest:
    """Store the picture and commit the row: a search that was promised is never lost.

    Raises:
        VitrineError: whatever is wrong with the request; then nothing was accepted.
    """
    _refuse_the_many()
    if request.mimetype == "multipart/form-data":
        options = _checked(parsed(SearchOptions, form_fields(lists=("box", "like", "unlike"))))
        return _by_photos(options, files_of("image", MAX_PHOTOS))
    if request.mimetype == "application/json":
        return _by_request(parsed(SearchRequest, json_body()))
    raise UnsupportedFormat(
        "Send multipart/form-data with a file field `image`, or application/json.", "Content-Type"
    )


def accept_request(wanted: SearchRequest) -> AcceptedRequest:
    """The same for a search without an upload, which a page's form asks for."""
    _refuse_the_many()
    return _by_request(wanted)


def _refuse_the_many() -> None:
    """Raise Overloaded when one address asks too often, or when too many searches wait already:
    a queue that only grows serves nobody."""
    services().disk.require_space()
    wait_s = services().rate.count(request.remote_addr or "")
    if wait_s is not None:
        SEARCHES_REFUSED.inc()
        g.retry_after_s = wait_s
        most = services().settings.web.searches_per_minute
        raise Overloaded(f"More than {most} searches a minute came from your address.")
    waiting = services().searches.count_waiting()
    if waiting >= services().settings.search.max_waiting:
        SEARCHES_REFUSED.inc()
        raise Overloaded(f"{waiting} searches wait already. Try again shortly.")


def _by_request(wanted: SearchRequest) -> AcceptedRequest:
    if wanted.after is not None:
        return _further_page(wanted, wanted.after)
    sources = [name for name in _SOURCES if getattr(wanted, name) is not None]
    if len(sources) > 1 or not (sources or wanted.like):
        raise InvalidInput("Name exactly one of image_url, product_id and query_id, or like.", "image_url")
    given = wanted.model_dump(exclude=set(_SOURCES), exclude_unset=True)
    options = _checked(SearchOptions.model_validate(given))
    if wanted.query_id is not None:
        asked = _again(wanted.query_id)
        # A box is drawn on the first photo: it says nothing of the others.
        return _accept(options, asked if wanted.box is None else replace(asked, more_photos=()))
    if wanted.image_url is None:
        return _accept(options, SearchSource(product_id=wanted.product_id))
    if not services().settings.web.url_import:
        raise InvalidInput("URL import is off: send the picture itself.", "image_url")
    return _by_photos(options, [fetch_query_image(wanted.image_url)])


def _further_page(wanted: SearchRequest, after: str) -> AcceptedRequest:
    """Accept the search for a page: that of the first page again, from another place on."""
    others = sorted(wanted.model_fields_set - _OF_A_PAGE)
    if others:
        raise InvalidInput(
            f"A page goes with after, top_k, locale, currency only: {others[0]} is as on the first page.",
            others[0],
        )
    first = services().searches.load_earlier(read_cursor(after).search)
    if first.state != "succeeded":
        raise InvalidInput("The search that this page belongs to has no answer.", "after")
    chosen = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    return _accept(_checked(first.options.model_copy(update=chosen)), first.source)


def _by_photos(options: SearchOptions, photos: list[bytes]) -> AcceptedRequest:
    if options.after is not None:
        raise InvalidInput("A page is asked for as JSON, without the photo.", "after")
    if options.box is not None and len(photos) > 1:
        raise InvalidInput("A box is drawn on one photo: send that one alone.", "box")
    parts = services()
    keys, limits = [], parts.settings.images
    for data in photos:
        picture = parts.photos.normalise(data, limits.query_side_px, limits.query_max_bytes)
        keys.append(parts.store.put(picture.jpeg, "queries"))
    return _accept(options, SearchSource(keys[0], tuple(keys[1:])))


def _again(query_id: str) -> SearchSource:
    earlier = services().searches.load_earlier(query_id)
    key = earlier.source.query_key
    if key is None:
        raise InvalidInput("That search was by product: it has no photo.", "query_id")
    if not earlier.embedded and not services().store.exists(key, "queries"):
        raise Expired("The photo of that search has expired: send it again.", "query_id")
    return earlier.source


def _accept(options: SearchOptions, asked: SearchSource) -> AcceptedRequest:
    """Commit the search, then publish its task; a refused or repeated request publishes nothing."""
    parts = services()
    accepted = parts.searches.accept(
        options.catalogue,
        options,
        asked,
        ttl_s=parts.settings.search.result_ttl_s,
        idempotency=idempotency(options, repr(asked)),
    )
    if accepted.created:
        SEARCHES_ACCEPTED.inc()
        if not parts.publisher.publish(TaskName.ANSWER_SEARCH, accepted.id, {"catalogue": options.catalogue}):
            PUBLISHES_FAILED.inc()
            parts.broker.expire()
    return accepted


def _checked(options: SearchOptions) -> SearchOptions:
    """Return the options; raise InvalidInput for what the contract cannot tell: too many hits, a filter that
    cannot be read."""
    most = services().settings.search.top_k_max
    if options.top_k > most:
        raise InvalidInput(f"top_k: at most {most} hits a group.", "top_k")
    rates = rates_in_force()
    if options.currency is not None and (rates is None or options.currency not in rates.currencies):
        raise InvalidInput(
            f"There is no rate for {options.currency}: `vitrine rates show` lists the currencies.", "currency"
        )
    if options.filter is not None:
        parse(options.filter)
    for boost in options.boosts or ():
        parse(boost.filter)
    return options


def _wanted_s() -> float:
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return min(float(found[1]), services().settings.web.wait_max_s) if found else 0.0


def _wait(accepted: AcceptedRequest, seconds: float) -> Notification | None:
    """Wait up to ``seconds`` for the search's end, if a thread can be spared; return the notification."""
    parts = services()
    if seconds <= 0 or not parts.waiters.acquire(blocking=False):
        return None
    try:
        end = time.monotonic() + seconds
        with parts.result_waiter.waiting_for(accepted.id) as pending:
            # A new one has not ended yet.
            is_open = accepted.created or parts.searches.is_open(accepted.id)
            while is_open and (left := end - time.monotonic()) > 0:
                if (ended := pending.wait(min(_POLL_INTERVAL_S, left))) is not None:
                    return ended
                is_open = parts.searches.is_open(accepted.id)
        return None
    finally:
        parts.waiters.release()


@blueprint.get("/v1/tasks/<task_id>")
@operation(
    "State of a search, with its result once it is there", "Searches", {200: TaskStatus}, errors=(404, 410)
)
def poll(task_id: str) -> Response:
    status = services().searches.status_json(task_id, rates_in_force())
    reason = reason_of_wait(status["state"], datetime.fromisoformat(status["created_at"]))
    if reason is not None:
        status["waiting_for"] = reason.model_dump(mode="json")
    answer = jsonify(status)
    if status["state"] in OPEN_STATES:
        answer.headers["Retry-After"] = "1"
    return answer


@blueprint.delete("/v1/tasks/<task_id>")
@operation("Cancel a search", "Searches", {200: TaskStatus}, errors=(404, 410))
def cancel(task_id: str) -> Response:
    return jsonify(services().searches.cancel(task_id).model_dump(mode="json"))


@blueprint.get("/v1/searches/<task_id>/image")
@operation("The photo of a search, as it was stored", "Searches", {200: "image/jpeg"}, errors=(404, 410))
def photo(task_id: str) -> Response:
    data = query_photo(task_id)
    if data is None:
        raise NotFound("That search was by product: it has no photo.")
    answer = Response(data, mimetype="image/jpeg")
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer


def query_photo(search_id: str) -> bytes | None:
    """The stored JPEG of a search, None when it was by product; Expired when it is gone."""
    key = services().searches.query_key(search_id)
    if key is None:
        return None
    if not services().store.exists(key, "queries"):
        raise Expired("The photo of this search has expired.")
    return services().store.get(key, "queries")
