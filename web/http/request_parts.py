"""Parse the parts of a request that the caller writes freely: Host, Origin, Referer, `next`, method."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

#: Methods that a route may have. Any other is answered 405 and counted as OTHER_METHOD.
KNOWN_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
OTHER_METHOD = "other"
_EMPTY = urlsplit("")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{0,253})(?::[0-9]{0,5})?")


def split_address(text: str | None) -> SplitResult:
    """Split an address that a caller sent; a malformed one is empty, as if it had not been sent.

    ``urlsplit`` raises ValueError for `http://[` and its like, and again when some parts are read.
    """
    try:
        parts = urlsplit(text or "")
        _ = parts.hostname, parts.port
    except ValueError:
        return _EMPTY
    return parts


def host_name(host: str) -> str:
    """Return the name or address in a Host header, without its port; empty when it is malformed."""
    return split_address(f"//{host}").hostname or ""


def is_host(text: str) -> bool:
    """Whether a Host header is a name or an address with at most a port."""
    return _HOST.fullmatch(text) is not None


def method_label(method: str) -> str:
    """Return the metric label of a method: the labels are a closed set, whatever callers send."""
    return method if method in KNOWN_METHODS else OTHER_METHOD
