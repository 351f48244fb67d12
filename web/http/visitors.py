"""Shoppers without a key: an anonymous cookie, to which their searches and photos belong."""

from __future__ import annotations

import re
import secrets

from flask import Response, g, request

from shared.access.principal import Principal, visitor

COOKIE = "vitrine_visitor"
#: With this prefix, browsers take the cookie over https only, and from no other host name.
_SECURE_COOKIE = f"__Host-{COOKIE}"
_MAX_AGE_S = 30 * 86_400
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def identify(catalogues: frozenset[str]) -> Principal:
    """Return the visitor of the current request, a new one if it has no cookie."""
    token = request.cookies.get(_cookie_name(), "")
    if not _TOKEN.fullmatch(token):
        token = secrets.token_urlsafe(32)
        g.new_visitor = token
    return visitor(token, catalogues)


def remember(response: Response) -> None:
    """Set the cookie of a new visitor, with a page or a search that was accepted."""
    token = g.get("new_visitor")
    is_kept = response.mimetype == "text/html" or request.method == "POST"
    if token is not None and is_kept and response.status_code < 400:
        # In a frame of another site, browsers send only cookies that are kept apart for that site.
        is_framed = request.is_secure and request.headers.get("Sec-Fetch-Dest") == "iframe"
        response.set_cookie(
            _cookie_name(),
            token,
            max_age=_MAX_AGE_S,
            secure=request.is_secure,
            httponly=True,
            samesite="None" if is_framed else "Lax",
            partitioned=is_framed,
            path="/",
        )


def _cookie_name() -> str:
    return _SECURE_COOKIE if request.is_secure else COOKIE
