"""Where a webhook may lead: out to the internet, and into this network only if the settings say so."""

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
    """Raise as ``webhook_target`` if no event could be sent to ``url`` as it is now.

    Args:
        deadline_s: how long the host's name may take to be found: who asks holds a thread of the web.
    """
    webhook_target(url, allow_private, partial(resolve_before, time.monotonic() + deadline_s))


def webhook_target(url: str, allow_private: bool, resolver: Resolver) -> Target:
    """Return where to connect for a webhook's address.

    Unlike a picture's address it may name a port: whoever may add a webhook has the API key.

    Args:
        allow_private: whether it may lead to an address that is not of the public internet.
        resolver: returns the addresses of a host.

    Raises:
        InvalidInput: malformed.
        Refused: not http or https, with a login, or into a private network.
        Unreachable: the host has no address.
    """
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidInput("That is not an address.", FIELD) from error
    if target.scheme not in _PORTS or not target.host:
        raise InvalidInput("A webhook is an http or https address.", FIELD)
    if target.userinfo:
        raise InvalidInput("A webhook's address has no login: the signature says who sends.", FIELD)
    parse_web_address(url, FIELD)
    try:
        addresses = resolver(target.host, target.port or _PORTS[target.scheme])
    except Unreachable as error:
        raise Unreachable(error.message, FIELD) from error
    allowed: Callable[[str], bool] = (lambda _: True) if allow_private else is_public
    if not addresses or not all(allowed(address) for address in addresses):
        raise Refused(
            "The address leads into a private network. If that is meant, as for a shop's own backend, set "
            "VITRINE_WEBHOOKS__ALLOW_PRIVATE=true on web and maintenance.",
            FIELD,
        )
    return Target(target, addresses[0])
