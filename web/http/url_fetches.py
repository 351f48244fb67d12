"""Limit how many request threads fetch URLs that callers name.

A URL may take seconds to answer or send slowly until the deadline. Without a limit, a few of them would
occupy every request thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Overloaded
from shared.net.url_fetch import fetch_image
from web.services import services

#: Maximum concurrent fetches of one web process.
MAX_FETCHES = 2
_WAIT_S = 1.0


def fetch_query_image(url: str) -> bytes:
    """Fetch the picture at a URL that a search names.

    Raises:
        Overloaded: all slots are in use.
        VitrineError: as ``shared.net.url_fetch.fetch_image``.
    """
    with fetch_slot():
        return fetch_image(url, services().settings.images.max_bytes)


@contextmanager
def fetch_slot() -> Iterator[None]:
    """Hold a fetch slot; raise Overloaded if none becomes free within a second."""
    slots = services().fetches
    if not slots.acquire(timeout=_WAIT_S):
        raise Overloaded("Too many URLs are being fetched. Try again shortly, or send the picture itself.")
    try:
        yield
    finally:
        slots.release()
