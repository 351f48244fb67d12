"""Parse the untrusted parts of a request: Host, Origin, Referer, `next` and method."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

#: Methods that routes may have. Others are answered 405 and counted as OTHER_METHOD.
KNOWN_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
OTHER_METHOD = "other"
_EMPTY = urlsplit("")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{0,253})(?::[0-9]{0,5})?")


def split_address(text: str | None) -> SplitResult:
    """Split a caller's address; treat a malformed one as if it had not been sent.

    ``urlsplit`` raises ValueError for `http://[`, for example, and some of its properties raise it later.
    """
    try:
        parts = urlsplit(text or "")
        _ = parts.hostname, parts.port
    except ValueError:
        return _EMPTY
    return parts


def host_name(host: str) -> str:
    """Return the name or address in a Host header without its port; empty if malformed."""
    return split_address(f"//{host}").hostname or ""


def is_host(text: str) -> bool:
    """Return whether a Host header is a name or an address with an optional port."""
    return _HOST.fullmatch(text) is not None


def method_label(method: str) -> str:
    """Return the metric label of a method; unknown methods share one label."""
    return method if method in KNOWN_METHODS else OTHER_METHOD
