"""Sign and verify the session cookie of a browser that has presented the API key.

The cookie contains its expiry and a signature made with the key. The server stores no sessions, and a new
key invalidates all of them.

Forms need no CSRF token. The cookie is ``SameSite=Strict``, so other sites cannot make a browser send it, and
``web.http.security`` refuses cross-site posts by Origin and Sec-Fetch-Site even if no key is set.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from flask import Response

from shared.settings import Settings

COOKIE = "vitrine_session"
SESSION_S = 12 * 3600


def is_valid(settings: Settings, cookie: str) -> bool:
    """Return whether the cookie is signed with the current key and has not expired."""
    expiry, _, signature = cookie.partition(".")
    if not _key(settings):
        return False
    if not (expiry.isascii() and expiry.isdecimal() and len(expiry) <= 12):
        return False
    return hmac.compare_digest(
        signature.encode(errors="replace"), _signature(settings, expiry).encode()
    ) and (int(expiry) > time.time())


def is_api_key(settings: Settings, offered: str) -> bool:
    """Return whether this is the API key, in constant time; an empty one never is."""
    key = _key(settings)
    return bool(key and offered) and hmac.compare_digest(offered.encode(errors="replace"), key)


def start(response: Response, settings: Settings, *, secure: bool) -> None:
    """Set the session cookie.

    Args:
        secure: restrict the cookie to https; set it for requests that came by https.
    """
    expiry = str(int(time.time()) + SESSION_S)
    response.set_cookie(
        COOKIE,
        f"{expiry}.{_signature(settings, expiry)}",
        max_age=SESSION_S,
        secure=secure,
        httponly=True,
        samesite="Strict",
    )


def end(response: Response) -> None:
    """Delete the session cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict")


def _key(settings: Settings) -> bytes:
    return b"" if settings.web.api_key is None else settings.web.api_key.get_secret_value().encode()


def _signature(settings: Settings, expiry: str) -> str:
    """Sign an expiry with a derived secret, so that no other signature of the key is a session."""
    secret = hmac.new(_key(settings), b"vitrine session", hashlib.sha256).digest()
    return hmac.new(secret, expiry.encode(), hashlib.sha256).hexdigest()
