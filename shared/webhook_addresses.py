"""Where a webhook may lead: out to the internet, and into this network only if the settings say so."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from shared.errors import InvalidInput, Refused
from shared.pinned_http import Target
from shared.url_fetch import Resolver, is_public, resolve

FIELD = "url"
_PORTS = {"http": 80, "https": 443}


def check_address(url: str, allow_private: bool) -> None:
    """Raise as ``webhook_target`` if no event could be sent to ``url`` as it is now."""
    webhook_target(url, allow_private, resolve)


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
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidInput("That is not an address.", FIELD) from error
    if target.scheme not in _PORTS or not target.host:
        raise InvalidInput("A webhook is an http or https address.", FIELD)
    if target.userinfo:
        raise InvalidInput("A webhook's address has no login: the signature says who sends.", FIELD)
    addresses = resolver(target.host, target.port or _PORTS[target.scheme])
    allowed: Callable[[str], bool] = (lambda _: True) if allow_private else is_public
    if not addresses or not all(allowed(address) for address in addresses):
        raise Refused(
            "The address leads into a private network. If that is meant, as for a shop's own backend, set "
            "VITRINE_WEBHOOKS__ALLOW_PRIVATE=true on web and maintenance.",
            FIELD,
        )
    return Target(target, addresses[0])
