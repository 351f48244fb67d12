"""Check access to every request and set the security headers of every answer.

Every request gets an id, which its answer and its log lines carry. A request is refused before its
body is read if it comes from another site's page, names a foreign host, lacks a key with the needed role,
exceeds a limit, does not state the length of its body, or creates work that the broker refuses.
"""

from __future__ import annotations

import ipaddress
import re
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import BadRequest, MethodNotAllowed

from shared.access.secret import parse_prefix
from shared.errors import BodyTooLarge, InvalidInput, LengthRequired, Refused
from shared.imports.kinds import UPLOADS
from shared.process.log import get_logger
from shared.process.metrics import REQUEST_SECONDS, REQUESTS
from shared.settings import Settings
from web.http import audit, cors, visitors
from web.http.framing import allow_framing
from web.http.principals import authenticate, read_credential, require_role
from web.http.rate_limits import add_headers as add_rate_headers
from web.http.rate_limits import limit_key, limit_visitor_change
from web.http.roles import access_of
from web.http.scope import check_scope
from web.services import services

log = get_logger("vitrine.web")

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; manifest-src 'self'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
}
#: Address of the import form's POST request.
IMPORT_FORM = "/manage/imports"
#: Methods that routes may have. Others are answered 405 and counted as ``_OTHER_METHOD``.
KNOWN_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_OTHER_METHOD = "other"
_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
_FOREIGN_PAGE = (
    "Requests from pages of other sites are refused, unless they carry a `search` key that lists the site."
)
#: GET endpoints that create work; other sites' pages must not trigger them either.
_WORK_STARTING_GETS = ("similar.search_similar",)
#: Sign-in needs no key, so its whole body must fit into what the server buffers without a thread.
_SIGN_IN, _MAX_SIGN_IN_BYTES = "/sign-in", 16_384
_DRAIN_S = 1.0
#: Environment keys of the client socket: gunicorn's, and that of Werkzeug's server.
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")
_DRAIN_BYTES = 32_000_000
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{0,253})(?::[0-9]{0,5})?")
_EMPTY = urlsplit("")

_CREATES_WORK = "__creates_work__"
#: A full broker stays full until an operator acts, so clients need not retry soon.
_FULL_BROKER_RETRY_S = 10

View = TypeVar("View", bound=Callable[..., Any])
#: Completes the answer to a page request.
PageHook = Callable[[Response], Response]


def creates_work(view: View) -> View:
    """Mark a view that creates a search or a job; ``operation`` marks those of the API."""
    setattr(view, _CREATES_WORK, True)
    return view


def protect(app: Flask, settings: Settings, page_hooks: Sequence[PageHook] = ()) -> None:
    """Register the checks before and the headers after every request.

    Args:
        page_hooks: called in this order for every answer that is no JSON.
    """

    @app.before_request
    def _check() -> Response | None:
        _start_request()
        if request.method not in KNOWN_METHODS:
            raise MethodNotAllowed(valid_methods=KNOWN_METHODS)
        # Check the raw header: `request.host` is empty for a malformed one.
        if not _HOST.fullmatch(request.environ.get("HTTP_HOST", "")):
            raise BadRequest("The Host header is not a host name with at most a port.")
        # gunicorn sets this flag, with which Werkzeug would accept a truncated body as complete.
        request.environ.pop("wsgi.input_terminated", None)
        # No valid name contains NUL, and some databases fail on it.
        if "\0" in request.path or b"%00" in request.query_string:
            raise InvalidInput("The address contains a NUL character. Remove it.")
        if settings.web.api_key is None and settings.web.proxies == 0:
            _refuse_foreign_host(request.host)
        preflight = cors.answer_preflight()
        if preflight is not None:
            return preflight
        access = access_of(request.endpoint, request.path)
        credential = read_credential(access)
        is_foreign = _changes_something() and _is_from_foreign_page()
        if is_foreign and (credential is None or parse_prefix(credential.text) is None):
            raise Refused(_FOREIGN_PAGE)
        if access.role is not None:
            g.principal = authenticate(access, credential, settings)
            if is_foreign and not g.principal.is_publishable:
                raise Refused(_FOREIGN_PAGE)
            limit_key(access, g.principal)
            if audit.is_recorded_change():
                limit_visitor_change(g.principal)
            if request.endpoint is not None:
                require_role(access, g.principal)
            check_scope(g.principal)
        if request.method in _UNSAFE:
            # Nothing has read the body yet. A page of the key's origin may read this refusal too.
            _check_length(settings)
        if hasattr(app.view_functions.get(request.endpoint or ""), _CREATES_WORK):
            _require_broker()
        return None

    @app.after_request
    def _finish(response: Response) -> Response:
        if response.mimetype != "application/json":
            for hook in page_hooks:
                response = hook(response)
        return _finish_request(response)


def _start_request() -> None:
    offered = request.headers.get("X-Request-Id", "")
    g.request_id = offered if _REQUEST_ID.match(offered) else str(uuid.uuid4())
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _refuse_foreign_host(host: str) -> None:
    """Refuse foreign host names while no key is set, because an attacker's DNS could point them here."""
    name = host_name(host)
    if name == "localhost" or name.endswith(".localhost"):
        return
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise Refused(
            f"This server does not answer for the host {name!r}: use its address, set an API key, "
            "or set VITRINE_WEB__PROXIES behind a reverse proxy."
        ) from None


def _changes_something() -> bool:
    return request.method in _UNSAFE or request.endpoint in _WORK_STARTING_GETS


def _is_from_foreign_page() -> bool:
    """Return whether another site's page sends the request through a visitor's browser."""
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and split_address(origin).netloc != request.host


def _check_length(settings: Settings) -> None:
    limit = settings.web.max_body_bytes
    # Only imports may be longer, as a raw body or through the import form.
    if request.mimetype in UPLOADS or request.path == IMPORT_FORM:
        limit = settings.jobs.max_import_bytes
    elif request.path == _SIGN_IN:
        limit = _MAX_SIGN_IN_BYTES
    request.max_content_length = limit
    # A chunked body over the limit would be truncated silently, so its length must be stated.
    if "Transfer-Encoding" in request.headers:
        raise LengthRequired("Send the body with a Content-Length, not in chunks.")
    if request.content_length is None:
        # Without length and type there is no body, as with a bare `curl -X POST`.
        if request.mimetype:
            raise LengthRequired("Send the body with a Content-Length.")
    elif request.content_length > limit:
        raise BodyTooLarge(f"The body has {request.content_length} bytes; the limit is {limit}.")


def _require_broker() -> None:
    """Answer 503 ``broker_unavailable`` while the broker refuses writes: accepted work would wait for it."""
    g.retry_after_s = _FULL_BROKER_RETRY_S
    services().broker.require_writable()
    g.pop("retry_after_s")


def _drain() -> None:
    """Discard the rest of a refused body, so that a client that still sends gets the answer and no reset."""
    if "Expect" in request.headers:
        return  # the client sends no body before it has the answer
    if any(getattr(request.environ.get(name), "lingers", False) for name in _SOCKETS):
        return  # Vitrine's own server does that after the answer, without a thread
    end = time.monotonic() + _DRAIN_S
    left = min(request.content_length or 0, _DRAIN_BYTES)
    # Without a timeout, a read would hold the thread for as long as the client sends nothing.
    line = next((request.environ[name] for name in _SOCKETS if name in request.environ), None)
    try:
        while left > 0 and (wait_s := end - time.monotonic()) > 0:
            if line is not None:
                line.settimeout(wait_s)
            piece = request.environ["wsgi.input"].read(min(left, 65_536))
            if not piece:
                return
            left -= len(piece)
    except OSError:
        pass  # the client went away or is too slow
    finally:
        if line is not None:
            line.settimeout(None)


def _finish_request(response: Response) -> Response:
    if response.status_code >= 400:
        _drain()
    response.headers.update(_HEADERS | g.get("resource_policy", {}))
    cors.add_headers(response)
    visitors.remember(response)
    audit.record(response)
    add_rate_headers(response)
    is_page = response.mimetype == "text/html"
    response.headers.setdefault("Content-Security-Policy", PAGE_POLICY if is_page else API_POLICY)
    allow_framing(response)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    response.headers.setdefault("Cache-Control", "no-store")
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    route = request.url_rule.rule if request.url_rule else "unknown"
    method, path = request.method, request.path
    log_request = partial(_log_request, route, method, path, response.status_code, seconds)
    if response.is_streamed:
        log_request()  # a stream may last for minutes
    else:
        # Log after the answer was sent, so that the client does not wait for it.
        response.call_on_close(log_request)
    return response


def _log_request(route: str, method: str, path: str, status: int, seconds: float) -> None:
    label = method if method in KNOWN_METHODS else _OTHER_METHOD
    REQUESTS.labels(route, label, status).inc()
    REQUEST_SECONDS.labels(route, label).observe(seconds)
    log.info(
        "request",
        method=method,
        path=path,
        status=status,
        ms=round(seconds * 1000, 1),
    )


def split_address(text: str | None) -> SplitResult:
    """Split a caller's address; treat a malformed one as if it had not been sent.

    ``urlsplit`` raises ValueError for `http://[`, for example, and some of its properties raise it later.
    """
    try:
        parts = urlsplit(text or "")
        _ = parts.hostname, parts.port
    except ValueError:
        return _EMPTY
    return parts


def host_name(host: str) -> str:
    """Return the name or address in a Host header without its port; empty if malformed."""
    return split_address(f"//{host}").hostname or ""
