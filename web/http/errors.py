"""Map errors to HTTP statuses and to the API's error shape."""

from __future__ import annotations

import errno
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, current_app, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, RequestTimeout

from shared.contracts import ErrorAnswer, ErrorBody
from shared.errors import StorageUnavailable, VitrineError
from shared.process.log import get_logger
from web.http.client_socket import SlowClient
from web.i18n.error_texts import error_detail, error_text

log = get_logger("vitrine.web")
_SIGN_IN_PAGE = "vitrine.sign_in_page"

#: Must agree with the error tree in shared/errors.py; a test checks it.
STATUS: dict[str, int] = {
    "invalid_input": 422,
    "unsupported_format": 415,
    "undecodable_image": 422,
    "image_too_large": 422,
    "body_too_large": 413,
    "length_required": 411,
    "invalid_manifest": 422,
    "image_missing": 422,
    "unreachable": 422,
    "refused": 403,
    "unauthorized": 401,
    "conflict": 409,
    "not_found": 404,
    "unknown_catalogue": 404,
    "unknown_product": 404,
    "unknown_task": 404,
    "unknown_job": 404,
    "unknown_webhook": 404,
    "index_missing": 404,
    "expired": 410,
    "deleted": 410,
    "unavailable": 503,
    "broker_unavailable": 503,
    "index_unavailable": 503,
    "storage_unavailable": 503,
    "database_unavailable": 503,
    "out_of_memory": 503,
    "overloaded": 429,
    "unreadable_row": 500,
    "misconfigured": 500,
    "internal": 500,
}

RETRY_AFTER_S = 2
_MAX_CAUSES = 8
# Werkzeug and Flask raise these by status alone.
_CODE_OF_STATUS = {
    400: "invalid_input",
    401: "unauthorized",
    403: "refused",
    404: "not_found",
    411: "length_required",
    413: "body_too_large",
    415: "unsupported_format",
    422: "invalid_input",
    429: "overloaded",
    503: "unavailable",
}
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def to_error_body(error: Exception) -> tuple[ErrorBody, int, dict[str, str]]:
    """Convert an exception into an error body, an HTTP status and extra headers."""
    request_id = g.get("request_id")
    if _is_slow_client_error(error):
        error = RequestTimeout("The body arrived too slowly. Send it again over a faster connection.")
    if isinstance(error, HTTPException):
        return _from_http(error, request_id)
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        error = StorageUnavailable("The disk is full, so nothing was accepted. Try again later.")
    if not isinstance(error, VitrineError):
        log.error("unexpected error", exc_info=error)
        message = "Internal error. Give this request ID to your administrator."
        return ErrorBody(code="internal", message=message, request_id=request_id), 500, {}
    status = STATUS.get(error.code, 500)
    headers = {"Retry-After": str(g.get("retry_after_s", RETRY_AFTER_S))} if error.retryable else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="vitrine"'
    if status >= 500:
        log.warning("request failed", code=error.code, reason=error.message)
    body = ErrorBody(code=error.code, message=error.message, field=error.field, request_id=request_id)
    return body, status, headers


def _is_slow_client_error(error: BaseException) -> bool:
    """Return whether a slow client caused the error, which Werkzeug and form parsers may have wrapped."""
    inner: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if inner is None or isinstance(inner, SlowClient):
            break
        inner = inner.__cause__ or inner.__context__
    return isinstance(inner, SlowClient)


def _from_http(error: HTTPException, request_id: str | None) -> tuple[ErrorBody, int, dict[str, str]]:
    status = error.code or 500
    phrase = HTTPStatus(status).phrase
    code = _CODE_OF_STATUS.get(status) or phrase.lower().replace(" ", "_")
    body = ErrorBody(code=code, message=error.description or phrase, request_id=request_id)
    forwarded = ("allow", "retry-after", "location")
    headers = {name: value for name, value in error.get_headers() if name.lower() in forwarded}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return body, status, headers


def build_error_answer(error: Exception) -> Response:
    """Answer an exception as JSON, or as a page if a browser asked for one."""
    body, status, headers = to_error_body(error)
    if is_page_request() and status == HTTPStatus.UNAUTHORIZED:
        sign_in_page: Callable[[], Response] = current_app.extensions[_SIGN_IN_PAGE]
        answer = sign_in_page()
    elif is_page_request():
        answer = Response(render_template("error.html", error=body, status=status), mimetype="text/html")
    else:
        answer = jsonify(ErrorAnswer(error=body).model_dump(mode="json"))
    answer.status_code = status
    answer.headers.update(headers)
    return answer


def is_page_request() -> bool:
    """Return whether the request asks for a page and not for JSON."""
    if request.path.startswith("/v1/"):
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def register_errors(app: Flask, sign_in_page: Callable[[], Response]) -> None:
    """Register the error handler of all routes and the error filters.

    Args:
        sign_in_page: renders the page for browsers that lack the key.
    """
    app.extensions[_SIGN_IN_PAGE] = sign_in_page
    app.jinja_env.filters.update(error_text=error_text, error_detail=error_detail)
    app.register_error_handler(Exception, build_error_answer)
