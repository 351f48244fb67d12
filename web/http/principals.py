"""Authenticate requests: by API key, by session, or by being local while no key is set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn, cast

from flask import g, request

from shared.access.keys import KeyRecord
from shared.access.origins import origin_of
from shared.access.principal import ANYONE_LOCAL, SERVER_OWNER, Principal, principal_of_key
from shared.access.roles import Role
from shared.access.secret import parse_prefix
from shared.access.wrong_keys import WrongKeys
from shared.database.clock import to_datetime
from shared.errors import Overloaded, Refused, Unauthorized
from shared.settings import Settings
from web.http import audit, cors, sessions, staff, visitors
from web.http.roles import Access
from web.services import services


class Credential(NamedTuple):
    """The API key that a request carries, right or wrong.

    Attributes:
        is_in_url: it is the ``key`` of an address.
    """

    text: str
    is_in_url: bool = False


def current_principal() -> Principal:
    """Return the sender of the current request, which its endpoint requires."""
    return cast(Principal, g.principal)


def access_check() -> Callable[[], bool]:
    """Return a check whether the key and the session of the current request are still live.

    An answer that lasts for minutes calls it, also outside of the request. It may raise DatabaseUnavailable.
    """
    principal, token = current_principal(), request.cookies.get(sessions.COOKIE, "")
    keys, session_ring = services().key_ring, services().session_ring

    def is_live() -> bool:
        if principal.session is not None and session_ring.find(token) is None:
            return False
        key = None if principal.key is None else keys.get(principal.key.prefix)
        return principal.key is None or not (key is None or key.is_revoked or key.is_expired)

    return is_live


def read_credential(access: Access) -> Credential | None:
    """Return the key in the Authorization header, or in the address where the endpoint takes one there."""
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, offered = header.partition(" ")
        return Credential(offered.strip() if scheme.lower() == "bearer" else "")
    if access.takes_key_in_url and "key" in request.args:
        return Credential(request.args["key"], is_in_url=True)
    return None


def authenticate(access: Access, credential: Credential | None, settings: Settings) -> Principal:
    """Return the sender of the request.

    Raises:
        Unauthorized: no valid key and no session.
        Refused: the key may not be used in this way, or from this page.
        Overloaded: the client's address has sent too many wrong keys.
    """
    is_keyless = settings.web.api_key is None
    if credential is not None:
        if not credential.is_in_url and sessions.is_api_key(settings, credential.text):
            return SERVER_OWNER
        key = services().key_ring.find(credential.text)
        if key is not None:
            return _use_key(key, credential)
        if is_keyless and not credential.is_in_url and parse_prefix(credential.text) is None:
            return ANYONE_LOCAL
    elif is_keyless:
        return ANYONE_LOCAL
    by_session = sessions.find_principal(settings)
    if by_session is not None:
        return by_session
    is_public = access.for_visitors and bool(settings.web.public_catalogues)
    if credential is None and settings.web.staff_header:
        by_proxy = staff.find_principal(settings, must_have_role=not is_public)
        if by_proxy is not None:
            return by_proxy
    if credential is None and is_public:
        return visitors.identify(settings.web.public_catalogues)
    if credential is not None:
        cors.allow(services().key_ring.live_origins())
        _count(services().wrong_keys, None)
        raise Unauthorized("This API key is unknown. Check it, or ask the owner of this server for another.")
    raise Unauthorized("Send the API key as `Authorization: Bearer KEY`.")


def require_role(access: Access, principal: Principal) -> None:
    """Raise Refused if the role of the principal is too low for an endpoint."""
    role = access.role
    if principal.is_visitor:
        return  # it was identified because the endpoint is for visitors
    if role is None or not principal.role.includes(role):
        raise Refused(
            f"This key has the role `{principal.role}`, and this call needs `{role}`. Use another key."
        )
    if access.is_whole and principal.catalogues is not None:
        raise Refused(
            "This call is about all catalogues, and the key is for some. Use a key without catalogues."
        )


def _use_key(key: KeyRecord, credential: Credential) -> Principal:
    """Return the principal of a key whose digest matches, if the key is live and may be used here."""
    cors.allow(key.origins)
    if key.is_revoked:
        _refuse_ended(key, "revoked", key.revoked_at)
    if key.is_expired:
        _refuse_ended(key, "expired", key.expires_at)
    if credential.is_in_url and key.role is not Role.SEARCH:
        _note_refusal(key, "in_url")
        raise Refused(
            f"A `{key.role}` key does not belong into an address, which logs and browsers keep. "
            "Revoke it, and use a `search` key for pictures."
        )
    if key.role is Role.SEARCH:
        _require_listed_origin(key)
    services().key_ring.uses.note(key.prefix)
    return principal_of_key(key)


def _refuse_ended(key: KeyRecord, how: str, ended_at: float | None) -> NoReturn:
    _count(services().refused_keys[how], key)
    when = f"{to_datetime(ended_at):%Y-%m-%d %H:%M} UTC"
    raise Unauthorized(
        f"The key {key.prefix} {_ENDED[how]} on {when}. Ask the owner of this server for another."
    )


_ENDED = {"revoked": "was revoked", "expired": "expired"}


def _require_listed_origin(key: KeyRecord) -> None:
    """Raise Refused if a page uses a publishable key whose origins do not include the page's."""
    sent = request.headers.get("Origin")
    if sent is None and request.endpoint == "images.get_image":
        sent = request.headers.get("Referer")
    if sent is None or origin_of(sent) in key.origins:
        return
    _note_refusal(key, "foreign_origin")
    name = origin_of(sent) or "this page"
    raise Refused(
        f"The key {key.prefix} may not be used by pages of {name}. The owner of this server can create a key "
        "that lists this origin: `vitrine keys create NAME --catalogue CATALOGUE --origin ORIGIN`."
    )


def _note_refusal(key: KeyRecord, how: str) -> int | None:
    """Count and audit a refused key; return the seconds to wait if its address has sent too many."""
    wait_s = services().refused_keys[how].count(request.remote_addr)
    audit.note_refusal(f"key:{key.prefix}", how, is_flood=wait_s is not None)
    return wait_s


def _count(wrong_keys: WrongKeys, key: KeyRecord | None) -> None:
    """Count a wrong key; raise Overloaded if the client's address has sent too many."""
    wait_s = wrong_keys.count(request.remote_addr)
    actor = None if key is None else f"key:{key.prefix}"
    audit.note_refusal(actor, wrong_keys.how, is_flood=wait_s is not None)
    if wait_s is not None:
        g.retry_after_s = wait_s
        raise Overloaded(f"Too many wrong keys came from your address. Try again in {wait_s} seconds.")
