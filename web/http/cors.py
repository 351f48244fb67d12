"""Let pages of other sites use publishable keys (CORS): preflights, and headers of answers."""

from __future__ import annotations

from collections.abc import Collection

from flask import Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException

from shared.access.roles import Role
from shared.contracts import ErrorAnswer, ErrorBody
from web.http.roles import access_of
from web.services import services

_ALLOWED_HEADERS = "Authorization, Content-Type, Prefer, Idempotency-Key, X-Request-Id"
_EXPOSED_HEADERS = (
    "Location, Retry-After, X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)
_PREFLIGHT_TTL_S = 600


def allow(origins: Collection[str]) -> None:
    """Let the page that sends this request read the answer, if its origin is one of these."""
    if request.headers.get("Origin") in origins:
        g.cors_origin = request.headers["Origin"]


def add_headers(response: Response) -> None:
    """Add the headers with which a page may read the answer, without cookies."""
    if request.path.startswith("/v1/"):
        response.vary.add("Origin")
    origin = g.get("cors_origin")
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS


def answer_preflight() -> Response | None:
    """Answer the request by which a browser asks whether a page may call; None for other requests.

    A preflight has no key, so it is allowed for origins that any live key lists. The call itself is checked
    against the origins of its own key.
    """
    method = request.headers.get("Access-Control-Request-Method")
    origin = request.headers.get("Origin")
    if request.method != "OPTIONS" or method is None or origin is None or not request.path.startswith("/v1/"):
        return None
    if not _is_for_pages(method):
        return _refuse(f"Pages of other sites may not send {method} to this address.")
    if origin not in services().key_ring.live_origins():
        return _refuse(
            f"No key lists the origin {origin}. The owner of this server can create one: "
            "`vitrine keys create NAME --catalogue CATALOGUE --origin ORIGIN`."
        )
    allow([origin])
    answer = Response(status=204)
    answer.headers["Access-Control-Allow-Methods"] = method
    answer.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
    answer.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_TTL_S)
    answer.vary.update(["Access-Control-Request-Method", "Access-Control-Request-Headers"])
    return answer


def _is_for_pages(method: str) -> bool:
    """Return whether publishable keys may send this method to the current address."""
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None
    try:
        endpoint, _ = adapter.match(method=method)
    except HTTPException:
        return False
    return access_of(endpoint, request.path).role is Role.SEARCH


def _refuse(message: str) -> Response:
    body = ErrorBody(code="refused", message=message, request_id=g.get("request_id"))
    answer = jsonify(ErrorAnswer(error=body).model_dump(mode="json"))
    answer.status_code = 403
    return answer
