"""Photos of searches as pixels."""

from __future__ import annotations

from dataclasses import dataclass

from shared.sandbox import PictureSandbox
from shared.storage.image_store import ImageStore
from worker.vision import Image


@dataclass(frozen=True)
class Photos:
    """Reads and decodes photos.

    Attributes:
        pictures: decodes them in child processes.
    """

    store: ImageStore
    pictures: PictureSandbox

    def load(self, key: str) -> Image:
        """Return ``(H, W, 3) uint8`` RGB. Safe across threads.

        Raises:
            NotFound: it is no longer kept.
            VitrineError: it cannot be decoded, or the store is away.
        """
        return self.pictures.decode(self.store.get(key, "queries"))
