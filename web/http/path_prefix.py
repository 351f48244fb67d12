"""Serve below a path of a host: a proxy strips the path, and names it in ``X-Forwarded-Prefix``.

The path becomes the request's script root, with which ``url_for`` begins every address. Templates begin other
addresses with ``{{ root }}``. Cookies get the path, so that they are not sent to the rest of the host. Image
addresses of the API are stored without it, so they get it when they are sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask, Response, has_request_context, request
from werkzeug.local import LocalProxy

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_HEADER: Final = "HTTP_X_FORWARDED_PREFIX"
_MAX_CHARS: Final = 256
#: One segment of a path that needs no escaping in an address; ``.`` and ``..`` are none.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
#: An image address as a value of JSON. Inside a text its quotes would be escaped, so no text matches.
_ADDRESS: Final = re.compile(rb'("(?:image_)?url": ?")(/v1/images/)')


class PathPrefix:
    """WSGI middleware that serves an application below the path that trusted proxies name.

    Args:
        hops: number of trusted proxies. Each may add a value; the values are joined, the outermost first.
    """

    def __init__(self, application: Application, hops: int) -> None:
        self._application = application
        self._hops = hops

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        prefix = read_prefix(environ.get(_HEADER, ""), self._hops)
        if not prefix:
            return self._application(environ, start_response)
        environ["SCRIPT_NAME"] = prefix

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(
                status, [_limit_cookie(name, value, prefix) for name, value in headers], *more
            )

        return self._application(environ, start)


def read_prefix(header: str, hops: int) -> str:
    """Return the path of an ``X-Forwarded-Prefix`` header; empty if there is none or it is malformed."""
    if len(header) > _MAX_CHARS:
        return ""
    parts = [part for value in header.split(",")[-hops:] for part in value.strip().split("/") if part]
    return "".join(f"/{part}" for part in parts) if all(map(_SEGMENT.fullmatch, parts)) else ""


def _limit_cookie(name: str, value: str, prefix: str) -> tuple[str, str]:
    # Browsers take `__Host-` cookies with the path `/` only.
    if name.lower() != "set-cookie" or value.startswith("__Host-"):
        return name, value
    attributes = value.split("; ")
    return name, "; ".join(f"Path={prefix}" if each.lower() == "path=/" else each for each in attributes)


def serve_below_prefix(app: Flask, hops: int) -> None:
    """Make an application work below a path; without trusted proxies there is none."""
    app.jinja_env.globals["root"] = LocalProxy(script_root)
    if hops:
        app.wsgi_app = PathPrefix(app.wsgi_app, hops)  # type: ignore[method-assign]
        app.after_request(_prefix_json)


def script_root() -> str:
    """Return the path below which the current request was served, such as ``/search``; empty for none."""
    return request.script_root if has_request_context() else ""


def prefix_addresses(data: bytes, root: str) -> bytes:
    """Put the path ``root`` before the image addresses in JSON."""
    return _ADDRESS.sub(rb"\g<1>" + root.encode() + rb"\g<2>", data) if root else data


def _prefix_json(response: Response) -> Response:
    root = script_root()
    if root and response.mimetype == "application/json" and not response.is_streamed:
        response.set_data(prefix_addresses(response.get_data(), root))
    return response
