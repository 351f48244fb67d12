"""Photos of searches as pixels; one of them may be decoded ahead, before its search is there."""

from __future__ import annotations

import time

from shared.errors import VitrineError
from shared.image_store import ImageStore
from shared.images import ImageLimits, decode
from worker.vision import Image


class Photos:
    """Reads and decodes photos.

    Args:
        limits: of what may be decoded; photos were normalised by the web already.
    """

    def __init__(self, store: ImageStore, limits: ImageLimits) -> None:
        self._store = store
        self._limits = limits
        self._ahead: dict[str, tuple[Image, float]] = {}

    def decode_ahead(self, key: str) -> None:
        """Decode a photo that is likely to be asked for next; what is wrong with it is found then."""
        began = time.perf_counter()
        try:
            photo = self._decoded(key)
            # One, and the newest: photos are large, and a search that was announced may never come.
            self._ahead = {key: (photo, 1000 * (time.perf_counter() - began))}
        except VitrineError:
            self._ahead = {}

    def get(self, key: str) -> tuple[Image, float]:
        """Return ``(H, W, 3) uint8`` RGB, and for how many milliseconds it was decoded before this.

        Safe across threads.

        Raises:
            NotFound: it is no longer kept.
            VitrineError: it cannot be decoded, or the store is away.
        """
        ahead = self._ahead.pop(key, None)
        return (self._decoded(key), 0.0) if ahead is None else ahead

    def _decoded(self, key: str) -> Image:
        return decode(self._store.get(key, "queries"), self._limits)
