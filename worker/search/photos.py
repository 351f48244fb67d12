"""Photos of searches as pixels."""

from __future__ import annotations

from dataclasses import dataclass

from shared.image_store import ImageStore
from shared.images import ImageLimits, decode
from worker.vision import Image


@dataclass(frozen=True)
class Photos:
    """Reads and decodes photos.

    Attributes:
        limits: of what may be decoded; the web normalised the photos already.
    """

    store: ImageStore
    limits: ImageLimits

    def load(self, key: str) -> Image:
        """Return ``(H, W, 3) uint8`` RGB. Safe across threads.

        Raises:
            NotFound: it is no longer kept.
            VitrineError: it cannot be decoded, or the store is away.
        """
        return decode(self.store.get(key, "queries"), self.limits)
