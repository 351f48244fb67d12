"""Limit how many request threads wait for addresses that callers name.

An address may take seconds to answer, or to drip until the deadline; without a limit a few of them would
occupy every request thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Overloaded
from shared.net.url_fetch import fetch_image
from web.services import services

#: Fetches at once in one web process.
MAX_FETCHES = 2
_WAIT_S = 1.0


def fetch_query_image(url: str) -> bytes:
    """Return the bytes behind an address that a search names.

    Raises:
        Overloaded: all places are taken.
        VitrineError: as ``shared.net.url_fetch.fetch_image``.
    """
    with fetch_place():
        return fetch_image(url, services().settings.images.max_bytes)


@contextmanager
def fetch_place() -> Iterator[None]:
    """Hold one of the places; raise Overloaded when none becomes free within a second."""
    places = services().fetches
    if not places.acquire(timeout=_WAIT_S):
        raise Overloaded("Other addresses are being fetched: try again shortly, or send the picture itself.")
    try:
        yield
    finally:
        places.release()
