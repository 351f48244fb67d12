"""Fetch untrusted web addresses without reaching the private network (SSRF).

The name is resolved once, all its addresses must be public, and the connection goes to the checked address,
so that a changed DNS answer has no effect. Every wait (for the name, the connection and every byte) ends with
the deadline of the fetch.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpcore
import httpx

from shared.errors import BodyTooLarge, ImageMissing, InvalidInput, Refused, Unreachable
from shared.net.addresses import parse_web_address
from shared.net.pinned_http import Target, exchange

FIELD = "image_url"
MAX_REDIRECTS = 3
DEADLINE_S = 8.0
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (404, 410)
#: Content codings that are unpacked, and the largest piece that comes out at once.
_PACKED = ("gzip", "x-gzip", "deflate")
_UNPACKED_BYTES = 1 << 20
#: The only allocated range of IPv6 unicast. Outside it are embedded IPv4 addresses (64:ff9b::/96, ::/96),
#: site-local (fec0::/10) and segment-routing (5f00::/16) addresses.
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
# Special-purpose ranges of the IANA registries that some Python versions, such as 3.11, treat as global:
# relays and tunnels, which embed IPv4 addresses, and documentation.
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
            *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        ),
    )
)


class HttpStatusError(Unreachable):
    """The server answered with a status that is no success.

    Attributes:
        retry_after_s: seconds after which the server says to ask again, None where it says nothing.
    """

    def __init__(self, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(f"The address answered {status}.", FIELD)
        self.status = status
        self.retry_after_s = retry_after_s


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]
Result = TypeVar("Result")


def fetch_image(url: str, max_bytes: int, deadline_s: float = DEADLINE_S) -> bytes:
    """Return the content of ``url``. Raises as ``fetch``."""
    return fetch(url, max_bytes, b"".join, deadline_s)


def fetch(
    url: str, max_bytes: int, take: Callable[[Iterable[bytes]], Result], deadline_s: float = DEADLINE_S
) -> Result:
    """Pass the content of ``url`` in parts to ``take``, and return its result.

    Args:
        deadline_s: deadline of the whole fetch, redirects included.

    Raises:
        InvalidInput: malformed address, or too many redirects.
        ImageMissing: the server answered 404 or 410.
        Unreachable: the server did not answer successfully in time.
        Refused: the address or a redirect leads into a private network.
        BodyTooLarge: the content has more than ``max_bytes``.
    """
    end = time.monotonic() + deadline_s
    for _ in range(MAX_REDIRECTS + 1):
        target = resolve_target(url, lambda host, port: resolve_before(end, host, port))
        with _request(target, end) as answer:
            location = _redirect(target, answer)
            if location is None:
                return take(_pieces(answer, max_bytes))
        url = location
    raise InvalidInput(f"The address redirects more than {MAX_REDIRECTS} times.", FIELD)


def resolve(host: str, port: int) -> list[str]:
    """Return all addresses of a name, or raise Unreachable."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable("The address has a host that cannot be found.", FIELD) from error
    return [str(answer[4][0]) for answer in answers]


def resolve_target(url: str, resolver: Resolver) -> Target:
    """Resolve ``url`` to a checked target.

    Raises:
        InvalidInput, Refused: the address is malformed or not public.
    """
    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise InvalidInput("This is not a web address.", FIELD) from error
    port = target.port or _PORTS.get(target.scheme)
    if target.scheme not in _PORTS or not target.host or port != _PORTS[target.scheme] or target.userinfo:
        raise Refused("Only http and https addresses on their default ports, without a login.", FIELD)
    parse_web_address(url, FIELD)
    addresses = resolver(target.host, port)
    if not addresses or not all(is_public(address) for address in addresses):
        raise Refused("The address leads into a private network.", FIELD)
    return Target(target, addresses[0])


def is_public(text: str) -> bool:
    """Return whether an IP address is public, embedded IPv4 addresses included."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address not in _IPV6_UNICAST:
            return False
    if any(address in network for network in _SPECIAL if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def resolve_before(end: float, host: str, port: int) -> list[str]:
    """Do as ``resolve``, with a deadline in monotonic seconds, because the system call has none."""
    answers: queue.SimpleQueue[list[str] | Unreachable] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(resolve(host, port))
        except Unreachable as error:
            answers.put(error)

    threading.Thread(target=look_up, name="resolve", daemon=True).start()
    try:
        found = answers.get(timeout=max(0.0, end - time.monotonic()))
    except queue.Empty:
        raise Unreachable("The address has a host that is not found in time.", FIELD) from None
    if isinstance(found, Unreachable):
        raise found
    return found


def _request(target: Target, end: float) -> AbstractContextManager[httpcore.Response]:
    headers = {"Accept": "image/*, */*;q=0.1", "Accept-Encoding": "identity"}
    return exchange("GET", target, headers, None, end, FIELD)


def _redirect(target: Target, answer: httpcore.Response) -> str | None:
    """Return the location of a redirect, None for a successful answer; raise for others."""
    location = httpx.Headers(answer.headers).get("location")
    if answer.status in _REDIRECTS and location is not None:
        try:
            return str(target.url.join(location))
        except (httpx.InvalidURL, ValueError) as error:
            raise InvalidInput("The address redirects to an invalid address.", FIELD) from error
    if answer.status in _GONE:
        raise ImageMissing(f"The address answered {answer.status}: it does not exist.", FIELD)
    if answer.status != httpx.codes.OK:
        headers = httpx.Headers(answer.headers)
        raise HttpStatusError(answer.status, retry_after_s(headers.get("retry-after")))
    return None


def retry_after_s(text: str | None) -> float | None:
    """Return the seconds of a header ``Retry-After``, which may also be a date; None if it is neither."""
    if text is None:
        return None
    if text.strip().isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def _pieces(answer: httpcore.Response, max_bytes: int) -> Iterator[bytes]:
    """Yield the body, unpacked if the server packed it although no client asked for that."""
    coding = httpx.Headers(answer.headers).get("content-encoding", "").strip().lower()
    pieces: Iterable[bytes] = answer.iter_stream()
    if coding in _PACKED:
        pieces = _unpacked(pieces, max_bytes)
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise BodyTooLarge(f"The content of the address has more than {max_bytes:,} bytes.", FIELD)
        yield piece


def _unpacked(pieces: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Unpack gzip or zlib piece by piece, each into a bounded piece: it may unpack to a thousand times."""
    # 32 + 15: a header of either kind.
    unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)
    limit = min(_UNPACKED_BYTES, max_bytes + 1)
    try:
        for piece in pieces:
            while piece and not unpacker.eof:
                yield unpacker.decompress(piece, limit)
                piece = unpacker.unconsumed_tail
    except zlib.error as error:
        raise Unreachable("The address delivers damaged gzip data.", FIELD) from error
    if not unpacker.eof:
        raise Unreachable("The address delivers gzip data that is cut off.", FIELD)
