"""The one table from error code to HTTP status, and the one shape of every error answer."""

from __future__ import annotations

import errno
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from flask import Flask, Response, current_app, g, jsonify, render_template, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException, RequestTimeout

from shared.contracts import ErrorAnswer, ErrorBody
from shared.errors import InvalidInput, StorageUnavailable, VitrineError
from shared.process.log import get_logger
from web.http.client_socket import SlowClient
from web.i18n.error_words import detail, said

log = get_logger("vitrine.web")
Model = TypeVar("Model", bound=BaseModel)
_SIGN_IN_PAGE = "vitrine.sign_in_page"

#: Must agree with the tree drawn in shared/errors.py; a test holds them together.
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


def parsed(model: type[Model], data: object) -> Model:
    """Build ``model`` from what a caller sent.

    Raises:
        InvalidInput: naming the first field that is wrong.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise as_invalid_input(error) from error


def as_invalid_input(error: ValidationError) -> InvalidInput:
    """Translate pydantic's first complaint into one sentence and a field name."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    if first["type"] == "extra_forbidden":
        return InvalidInput(f"There is no field {field!r} here. /docs lists the fields.", field)
    reason = first["msg"].removeprefix("Value error, ")
    return InvalidInput(f"{field}: {reason}." if field else f"{reason}.", field)


def as_body(error: Exception) -> tuple[ErrorBody, int, dict[str, str]]:
    """What an exception is to a caller: the error, the HTTP status, extra headers."""
    request_id = g.get("request_id")
    if _is_of_slow_client(error):
        error = RequestTimeout("The body came too slowly: send it again, over a faster connection.")
    if isinstance(error, HTTPException):
        return _from_http(error, request_id)
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        error = StorageUnavailable("The disk is full: nothing was accepted. Try again later.")
    if not isinstance(error, VitrineError):
        log.error("unexpected error", exc_info=error)
        message = "Something went wrong here. Name the request id to whoever runs this server."
        return ErrorBody(code="internal", message=message, request_id=request_id), 500, {}
    status = STATUS.get(error.code, 500)
    headers = {"Retry-After": str(g.get("retry_after_s", RETRY_AFTER_S))} if error.retryable else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="vitrine"'
    if status >= 500:
        log.warning("request failed", code=error.code, reason=error.message)
    body = ErrorBody(code=error.code, message=error.message, field=error.field, request_id=request_id)
    return body, status, headers


def _is_of_slow_client(error: BaseException) -> bool:
    """Whether the body could not be read in time; Werkzeug and form readers put their own error around it."""
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
    kept = ("allow", "retry-after", "location")
    headers = {name: value for name, value in error.get_headers() if name.lower() in kept}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return body, status, headers


def error_answer(error: Exception) -> Response:
    """The answer to an exception: JSON, or a page when a browser asked for one."""
    body, status, headers = as_body(error)
    if wants_page() and status == HTTPStatus.UNAUTHORIZED:
        sign_in_page: Callable[[], Response] = current_app.extensions[_SIGN_IN_PAGE]
        answer = sign_in_page()
    elif wants_page():
        answer = Response(render_template("error.html", error=body, status=status), mimetype="text/html")
    else:
        answer = jsonify(ErrorAnswer(error=body).model_dump(mode="json"))
    answer.status_code = status
    answer.headers.update(headers)
    return answer


def wants_page() -> bool:
    """Whether a browser asks for a page, rather than a program for an answer."""
    if request.path.startswith("/v1/"):
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def register_errors(app: Flask, sign_in_page: Callable[[], Response]) -> None:
    """Answer every exception of every route in the one shape.

    Args:
        sign_in_page: renders what a browser gets that needs a key.
    """
    app.extensions[_SIGN_IN_PAGE] = sign_in_page
    app.jinja_env.filters.update(said=said, detail=detail)
    app.register_error_handler(Exception, error_answer)
