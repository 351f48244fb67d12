"""Normalise origins of web pages, such as ``https://shop.example``, to what browsers send."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from shared.errors import InvalidInput

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Other characters, such as commas, would list several sites, or end a directive of a security policy.
#: Each character has one way to match, so that no name takes more than linear time.
_HOST = re.compile(r"[a-z0-9]+(?:-+[a-z0-9]+)*(?:\.[a-z0-9]+(?:-+[a-z0-9]+)*)*\.?")


def parse_origin(text: str) -> str:
    """Return an origin as browsers send it: lower case, in ASCII, without the default port.

    Raises:
        InvalidInput: it is no single origin.
    """
    try:
        parts = urlsplit(text.strip())
        name, port = parts.hostname or "", parts.port
        is_ipv6 = "[" in parts.netloc
        host = ipaddress.IPv6Address(name).compressed if is_ipv6 else name.encode("idna").decode("ascii")
    except (ValueError, UnicodeError) as error:
        raise _invalid(text) from error
    is_origin = parts.scheme in _DEFAULT_PORTS and host and parts.path in ("", "/")
    has_others = parts.query or parts.fragment or set(parts.netloc) & set("@%")
    is_origin = is_origin and not has_others and text.strip().isprintable()
    if not is_origin or port == 0 or not (is_ipv6 or _HOST.fullmatch(host.lower())):
        raise _invalid(text)
    host = f"[{host}]" if is_ipv6 else host.lower()
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"


def origin_of(address: str | None) -> str | None:
    """Return the origin of an Origin or Referer header; None for a missing or opaque one."""
    if not address:
        return None
    try:
        parts = urlsplit(address)
        return parse_origin(f"{parts.scheme}://{parts.netloc}")
    except (ValueError, InvalidInput):
        return None


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is no origin. Write scheme, host and port of one site, such as https://shop.example.",
        "origins",
    )
