"""Check the addresses of webhooks: public ones, and private ones only if the settings allow it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import httpx

from shared.errors import InvalidInput, Refused, Unreachable
from shared.net.addresses import parse_web_address
from shared.net.pinned_http import Target
from shared.net.url_fetch import DEADLINE_S, Resolver, is_public, resolve_before

FIELD = "url"
_PORTS = {"http": 80, "https": 443}


def check_address(url: str, allow_private: bool, deadline_s: float = DEADLINE_S) -> None:
    """Raise as ``webhook_target`` if events cannot be sent to ``url`` now.

    Args:
        deadline_s: limit for resolving the host, because the request occupies a web thread.
    """
    webhook_target(url, allow_private, partial(resolve_before, time.monotonic() + deadline_s))


def webhook_target(url: str, allow_private: bool, resolver: Resolver) -> Target:
    """Resolve the address of a webhook to a checked target.

    Unlike the address of a picture it may have any port, because adding a webhook needs the API key.

    Args:
        allow_private: whether the address may be in a private network.
        resolver: returns the addresses of a host.

    Raises:
        InvalidInput: malformed, not http or https, or with a login.
        Refused: in a private network.
        Unreachable: the host has no address.
    """
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidInput("This is not a web address.", FIELD) from error
    if target.scheme not in _PORTS or not target.host:
        raise InvalidInput("A webhook must be an http or https address.", FIELD)
    if target.userinfo:
        raise InvalidInput(
            "The address of a webhook must have no login: the signature identifies the sender.", FIELD
        )
    parse_web_address(url, FIELD)
    try:
        addresses = resolver(target.host, target.port or _PORTS[target.scheme])
    except Unreachable as error:
        raise Unreachable(error.message, FIELD) from error
    allowed: Callable[[str], bool] = (lambda _: True) if allow_private else is_public
    if not addresses or not all(allowed(address) for address in addresses):
        raise Refused(
            "The address leads into a private network. To allow this, as for a shop's own backend, set "
            "VITRINE_WEBHOOKS__ALLOW_PRIVATE=true on web and maintenance.",
            FIELD,
        )
    return Target(target, addresses[0])
