"""Who may call, from where, and what a browser may do with the answer.

Every request gets an id, which its answer and its log lines carry. A request is refused before its
body is read when it comes from another site's page, names a foreign host, lacks the key, or says
nothing honest about its length.
"""

from __future__ import annotations

import ipaddress
import re
import time
import uuid
from functools import partial

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import BadRequest, MethodNotAllowed

from shared.errors import BodyTooLarge, InvalidInput, LengthRequired, Overloaded, Refused, Unauthorized
from shared.imports.kinds import UPLOADS
from shared.process.log import get_logger
from shared.process.metrics import REQUEST_SECONDS, REQUESTS
from shared.settings import Settings
from web.http import sessions
from web.http.request_parts import KNOWN_METHODS, host_name, is_host, method_label, split_address
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
#: Where the owner's page sends an import with its options.
IMPORT_FORM = "/manage/imports"
_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
#: GET requests that start work: another site's page must not cause them either.
_ACTING_GETS = ("similar.similar",)
#: The form to sign in is open to everybody; all of it fits into what the server gathers without a thread.
_SIGN_IN, _MAX_SIGN_IN_BYTES = "/sign-in", 16_384
_DRAIN_S = 1.0
#: Where servers put the connection: gunicorn, and Werkzeug's own.
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")
_DRAIN_BYTES = 32_000_000
_OWN_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")


def protect(app: Flask, settings: Settings) -> None:
    """Run the checks before, and set the headers after, every request."""

    @app.before_request
    def _check() -> None:
        _open_request()
        if request.method not in KNOWN_METHODS:
            raise MethodNotAllowed(valid_methods=KNOWN_METHODS)
        # As it was sent: `request.host` is empty for a malformed one.
        if not is_host(request.environ.get("HTTP_HOST", "")):
            raise BadRequest("The Host header is not a host name with at most a port.")
        # gunicorn says that its stream ends by itself; then a body that was cut off would look whole.
        request.environ.pop("wsgi.input_terminated", None)
        # No name of ours has one, and a database may answer it with an error of its own.
        if "\0" in request.path or b"%00" in request.query_string:
            raise InvalidInput("There is a NUL character in the address: leave it out.")
        if settings.web.api_key is None and settings.web.proxies == 0:
            _refuse_foreign_host(request.host)
        if request.method in _UNSAFE or request.endpoint in _ACTING_GETS:
            _refuse_foreign_page()
        if request.method in _UNSAFE:
            _check_length(settings)
        if _needs_key(request.path):
            require_key(settings)

    app.after_request(_close_request)


def _open_request() -> None:
    offered = request.headers.get("X-Request-Id", "")
    g.request_id = offered if _OWN_ID.match(offered) else str(uuid.uuid4())
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _refuse_foreign_host(host: str) -> None:
    """Without a key only this machine may call: a name that an attacker's DNS points here may not."""
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


def _refuse_foreign_page() -> None:
    """A page of another site must not act through its visitor's browser."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    foreign = site in ("cross-site", "same-site")
    if origin is not None and split_address(origin).netloc != request.host:
        foreign = True
    if foreign:
        raise Refused("Calls from the pages of other sites are refused.")


def _check_length(settings: Settings) -> None:
    limit = settings.web.max_body_bytes
    # Only these may be longer: an import, as a body of its own or sent by the owner's page with its form.
    if request.mimetype in UPLOADS or request.path == IMPORT_FORM:
        limit = settings.jobs.max_import_bytes
    elif request.path == _SIGN_IN:
        limit = _MAX_SIGN_IN_BYTES
    request.max_content_length = limit
    # A chunked body that grows past the limit would be cut without a word: its length must be said.
    if "Transfer-Encoding" in request.headers:
        raise LengthRequired("Send the body with a Content-Length, not in chunks.")
    if request.content_length is None:
        # Neither length nor type: there is no body, as with a bare `curl -X POST`.
        if request.mimetype:
            raise LengthRequired("Send the body with a Content-Length.")
    elif request.content_length > limit:
        raise BodyTooLarge(f"The body has {request.content_length} bytes; at most {limit} are taken.")


def _needs_key(path: str) -> bool:
    return path.startswith(("/v1/", "/manage/")) or path in ("/metrics", "/manage", "/operations")


def has_key(settings: Settings) -> bool:
    """Whether the request carries the key or a session's cookie, or no key is set.

    A key in an address never counts.
    """
    if settings.web.api_key is None:
        return True
    scheme, _, offered = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and sessions.is_the_key(settings, offered.strip()):
        return True
    return sessions.is_open(settings, request.cookies.get(sessions.COOKIE, ""))


def require_key(settings: Settings) -> None:
    """Raise Unauthorized unless the request carries the key or a session's cookie.

    Raises:
        Unauthorized: it does not.
        Overloaded: neither did many others of its address, which offered wrong keys.
    """
    if has_key(settings):
        return
    if request.headers.get("Authorization") is not None:
        wait_s = services().wrong_keys.count(request.remote_addr)
        if wait_s is not None:
            g.retry_after_s = wait_s
            raise Overloaded(f"Too many wrong keys came from your address: try again in {wait_s} seconds.")
    raise Unauthorized("Send the API key as `Authorization: Bearer KEY`.")


def _drain() -> None:
    """Read what is left of a refused body: a client that still sends would see a reset, not the answer."""
    if "Expect" in request.headers:
        return  # it waits for our word, and the answer is that word
    if any(getattr(request.environ.get(name), "lingers", False) for name in _SOCKETS):
        return  # our own server does that after the answer, without a thread
    end = time.monotonic() + _DRAIN_S
    left = min(request.content_length or 0, _DRAIN_BYTES)
    # A read would wait as long as the client likes to send nothing, and hold a thread meanwhile.
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
        pass  # it went away, or its time is over
    finally:
        if line is not None:
            line.settimeout(None)


def _close_request(response: Response) -> Response:
    if response.status_code >= 400:
        _drain()
    response.headers.update(_HEADERS)
    is_page = response.mimetype == "text/html"
    response.headers.setdefault("Content-Security-Policy", PAGE_POLICY if is_page else API_POLICY)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    response.headers.setdefault("Cache-Control", "no-store")
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    route = request.url_rule.rule if request.url_rule else "unknown"
    method, path = request.method, request.path
    note = partial(_note, route, method, path, response.status_code, seconds)
    if response.is_streamed:
        note()  # it may be long until that ends
    else:
        # Whoever waits for the answer need not wait for this.
        response.call_on_close(note)
    return response


def _note(route: str, method: str, path: str, status: int, seconds: float) -> None:
    REQUESTS.labels(route, method_label(method), status).inc()
    REQUEST_SECONDS.labels(route, method_label(method)).observe(seconds)
    log.info(
        "request",
        method=method,
        path=path,
        status=status,
        ms=round(seconds * 1000, 1),
    )
