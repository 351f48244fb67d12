"""Fetches a picture from an address that a stranger gave, without being led into the private network.

The name is resolved once, every address it has must be a public one, and the connection goes to the
address that was checked: a name that changes its mind between check and use gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from shared.errors import BodyTooLarge, InvalidInput, Refused

FIELD = "image_url"
MAX_REDIRECTS = 3
DEADLINE_S = 8.0
_STEP_S = 3.0
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
# Ranges that lead to IPv4 addresses in disguise, or that Python calls global though they are not.
_TUNNELS = tuple(
    ipaddress.ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10", "::/96")
)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]


@dataclass(frozen=True)
class Target:
    """A checked address: where to connect, and whom to ask for."""

    url: httpx.URL
    address: str


def fetch_image(url: str, max_bytes: int) -> bytes:
    """Return the bytes behind ``url``.

    Raises:
        InvalidInput: no such address, or it did not deliver in time.
        Refused: it leads, or redirects, to where this server must not go.
        BodyTooLarge: more than ``max_bytes``.
    """
    end = time.monotonic() + DEADLINE_S
    for _ in range(MAX_REDIRECTS + 1):
        found = _get(checked_target(url, resolve), max_bytes, end)
        if isinstance(found, bytes):
            return found
        url = found
    raise InvalidInput(f"The address redirects more than {MAX_REDIRECTS} times.", FIELD)


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name; raises InvalidInput when it has none."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InvalidInput("The address has a host that cannot be found.", FIELD) from error
    return [str(answer[4][0]) for answer in answers]


def checked_target(url: str, resolver: Resolver) -> Target:
    """Return where to connect for ``url``.

    Raises:
        InvalidInput, Refused: the address is malformed, or not a public web address.
    """
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidInput("That is not an address.", FIELD) from error
    port = target.port or _PORTS.get(target.scheme)
    if target.scheme not in _PORTS or not target.host or port != _PORTS[target.scheme] or target.userinfo:
        raise Refused("Only http and https addresses on their usual ports, without a login.", FIELD)
    addresses = resolver(target.host, port)
    if not addresses or not all(is_public(address) for address in addresses):
        raise Refused("The address leads into a private network.", FIELD)
    return Target(target, addresses[0])


def is_public(text: str) -> bool:
    """Whether an IP address belongs to the public internet, disguises taken off."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in tunnel for tunnel in _TUNNELS):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _get(target: Target, max_bytes: int, end: float) -> bytes | str:
    """The body, or the address that a redirect names."""
    host = target.url.host
    pinned = target.url.copy_with(host=target.address)
    headers = {"Host": host, "User-Agent": "vitrine", "Accept": "image/*", "Accept-Encoding": "identity"}
    extensions: dict[str, Any] = {"sni_hostname": host}
    # trust_env: proxy variables of this machine would send the request past the check.
    with httpx.Client(trust_env=False, follow_redirects=False, timeout=_STEP_S) as client:
        try:
            with client.stream("GET", pinned, headers=headers, extensions=extensions) as answer:
                if answer.status_code in _REDIRECTS and "location" in answer.headers:
                    return str(target.url.join(answer.headers["location"]))
                if answer.status_code != 200:
                    raise InvalidInput(f"The address answered {answer.status_code}.", FIELD)
                return _read(answer, max_bytes, end)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise InvalidInput(f"The address did not deliver: {type(error).__name__}.", FIELD) from error


def _read(answer: httpx.Response, max_bytes: int, end: float) -> bytes:
    data = bytearray()
    for piece in answer.iter_raw():
        data += piece
        if len(data) > max_bytes:
            raise BodyTooLarge(f"The picture behind the address has more than {max_bytes} bytes.", FIELD)
        if time.monotonic() > end:
            raise InvalidInput("The address delivers too slowly.", FIELD)
    return bytes(data)
