"""The session cookie of a browser that has signed in with a key.

The cookie has a random text; the database has its digest. A session ends by time, by sign-out, with the key
that it signed in with, and when an owner ends it.

Forms need no CSRF token. The cookie is ``SameSite=Strict``, so other sites cannot make a browser send it, and
``web.http.security`` refuses cross-site posts by Origin and Sec-Fetch-Site even if no key is set.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

from flask import Response, request

from shared.access.keys import KeyRecord
from shared.access.principal import SERVER_OWNER, Principal, principal_of_key
from shared.access.roles import Role
from shared.access.sessions import SESSION_S, SessionRecord
from shared.settings import Settings
from web.services import services

COOKIE = "vitrine_session"
_KEY_PREFIX = "key:"
_BOOTSTRAP_PREFIX = "api-key:"


def find_principal(settings: Settings) -> Principal | None:
    """Return the principal of the request's session, if it is live."""
    token = request.cookies.get(COOKIE)
    ring = services().session_ring
    record = ring.find(token) if token else None
    principal = None if record is None else _principal_of(settings, record)
    if record is None or principal is None:
        return None
    if principal.role is Role.OWNER and ring.is_idle(record):
        return None
    ring.uses.note(record.digest)
    return principal


def _principal_of(settings: Settings, record: SessionRecord) -> Principal | None:
    """Return the principal of a session; None if its key has ended or was changed."""
    if record.credential == bootstrap_credential(settings):
        return replace(SERVER_OWNER, session=record.id)
    if not record.credential.startswith(_KEY_PREFIX):
        return None
    key = services().key_ring.get(record.credential.removeprefix(_KEY_PREFIX))
    if key is None or key.is_revoked or key.is_expired:
        return None
    return replace(principal_of_key(key), session=record.id)


def is_api_key(settings: Settings, offered: str) -> bool:
    """Return whether this is the bootstrap key, in constant time; an empty one never is."""
    key = _key(settings)
    return bool(key and offered) and hmac.compare_digest(offered.encode(errors="replace"), key)


def key_credential(key: KeyRecord) -> str:
    """Return the credential of sessions that sign in with an API key row."""
    return f"{_KEY_PREFIX}{key.prefix}"


def bootstrap_credential(settings: Settings) -> str:
    """Return the credential of sessions that sign in with the bootstrap key; another key changes it."""
    fingerprint = hmac.new(_key(settings), b"vitrine session", hashlib.sha256).hexdigest()[:16]
    return f"{_BOOTSTRAP_PREFIX}{fingerprint}" if _key(settings) else ""


def start(response: Response, credential: str) -> None:
    """Create a session and set its cookie; over https, restrict it to https."""
    browser = request.headers.get("User-Agent", "")
    token = services().sessions.create(credential, request.remote_addr or "", browser)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(SESSION_S),
        secure=request.is_secure,
        httponly=True,
        samesite="Strict",
    )


def end(response: Response) -> None:
    """End the session of the request, and delete its cookie."""
    end_row()
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict")


def end_row() -> None:
    """End the session of the request on the server."""
    token = request.cookies.get(COOKIE)
    if token:
        services().sessions.end_token(token)
        services().session_ring.forget()


def _key(settings: Settings) -> bytes:
    return b"" if settings.web.api_key is None else settings.web.api_key.get_secret_value().encode()
