"""The cookie of somebody who has shown the key to a page: signed, and good for half a day.

It holds nothing but its end and a signature made with the key, so that no server has to remember it, and
another key ends them all.

No form needs a token beside it: the cookie is ``SameSite=Strict``, so that no other site's page can have it
sent, and what a browser posts for such a page is refused before it is read, by its Origin and Sec-Fetch-Site
(``web.http.security``), also where there is no cookie because no key is set.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from flask import Response

from shared.settings import Settings

COOKIE = "vitrine_session"
SESSION_S = 12 * 3600


def is_open(settings: Settings, cookie: str) -> bool:
    """Whether the cookie was made with the present key and has not ended."""
    end, _, signature = cookie.partition(".")
    if not _key(settings):
        return False
    if not (end.isascii() and end.isdecimal() and len(end) <= 12):
        return False
    return hmac.compare_digest(signature.encode(errors="replace"), _signature(settings, end).encode()) and (
        int(end) > time.time()
    )


def is_the_key(settings: Settings, offered: str) -> bool:
    """Whether this is the key; compared in the same time whatever it is. An empty one never is."""
    key = _key(settings)
    return bool(key and offered) and hmac.compare_digest(offered.encode(errors="replace"), key)


def begin(response: Response, settings: Settings, *, secure: bool) -> None:
    """Give the browser a session.

    Args:
        secure: whether it came by https: the cookie then never goes another way.
    """
    end = str(int(time.time()) + SESSION_S)
    response.set_cookie(
        COOKIE,
        f"{end}.{_signature(settings, end)}",
        max_age=SESSION_S,
        secure=secure,
        httponly=True,
        samesite="Strict",
    )


def finish(response: Response) -> None:
    """Take the session away from the browser."""
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict")


def _key(settings: Settings) -> bytes:
    return b"" if settings.web.api_key is None else settings.web.api_key.get_secret_value().encode()


def _signature(settings: Settings, end: str) -> str:
    """Made with a secret of its own: nothing else that the key signs is ever a session."""
    secret = hmac.new(_key(settings), b"vitrine session", hashlib.sha256).digest()
    return hmac.new(secret, end.encode(), hashlib.sha256).hexdigest()
