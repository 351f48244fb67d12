"""Parse untrusted web addresses; every malformed one raises ``InvalidInput``."""

from __future__ import annotations

import ipaddress
import unicodedata
from urllib.parse import SplitResult, urljoin, urlsplit

import idna

from shared.errors import InvalidInput

_MAX_HOST_CHARS, _MAX_LABEL_CHARS = 253, 63
_SHOWN_CHARS = 200


def parse_web_address(text: str, field: str | None = None) -> SplitResult:
    """Parse an http or https address.

    Args:
        field: name of the input for the error.

    Raises:
        InvalidInput: another scheme, control characters, no host, an invalid host name, or a port outside 0
            to 65535.
    """
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text):
        raise _no_address(text, "it has line breaks or other control characters", field)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # properties that parse and may raise
    except ValueError as error:
        raise _no_address(text, str(error), field) from error
    if parts.scheme not in ("http", "https"):
        raise _no_address(text, "it does not begin with http:// or https://", field)
    if not host:
        raise _no_address(text, "it names no host", field)
    if (error_text := _host_error(host)) is not None:
        raise _no_address(text, error_text, field)
    return parts


def join_address(base: str, name: str) -> str:
    """Resolve ``name`` relative to the address ``base``. Raises InvalidInput."""
    try:
        return urljoin(base, name)
    except ValueError as error:
        raise _no_address(name, str(error), None) from error


def _host_error(host: str) -> str | None:
    """Return the error of a host, None for a valid name or IP address."""
    if ":" in host:
        try:
            ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            return "its host is no IPv6 address"
        return None
    try:
        # Names in other scripts are encoded as in browsers; ASCII names are unchanged.
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        return f"its host is no name: {error}"
    labels = name.removesuffix(".").split(".")
    if any(not 1 <= len(label) <= _MAX_LABEL_CHARS for label in labels) or len(name) > _MAX_HOST_CHARS:
        return "its host has a part that is empty or longer than 63 characters"
    if any(not (char.isalnum() or char in "-._") for char in name):
        return "its host has characters that no host has"
    return None


def _no_address(text: str, why: str, field: str | None) -> InvalidInput:
    shown = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."
    return InvalidInput(f"{shown!r} is not a web address: {why}.", field)
