"""Run the operations of ``shared.images`` in child processes."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.images import ImageInfo, ImageLimits, NormalisedImage
from shared.sandbox.budget import Budget
from shared.sandbox.pool import ChildPool
from shared.sandbox.protocol import Head

#: Maximum size of an encoded answer: a rendition or a normalised photo.
_MAX_FILE_BYTES: Final = 64 * 2**20


class PictureSandbox:
    """Decodes pictures of one kind, such as shoppers' photos. Safe for many threads.

    Args:
        limits: limits of the pictures.
        budget: limits of decoding one picture.
        wait_s: maximum wait for a free child before Overloaded.
    """

    def __init__(self, pool: ChildPool, limits: ImageLimits, budget: Budget, wait_s: float) -> None:
        self.limits = limits
        self._pool = pool
        self._budget = budget
        self._wait_s = wait_s
        self._limits = {**dataclasses.asdict(limits), "formats": sorted(limits.formats)}

    def warm_up(self) -> None:
        """Start the children. Raises Unavailable if they do not start."""
        self._pool.warm_up()

    def probe(self, data: bytes) -> ImageInfo:
        """Read the header only, as ``shared.images.probe``.

        Raises:
            UnsupportedFormat, ImageTooLarge, UndecodableImage: as ``shared.images.probe``.
            Overloaded: no child was free in time.
        """
        head, _ = self._run("probe", data, 0)
        return ImageInfo(**head["info"])

    def decode(self, data: bytes, min_side_needed_px: int | None = None) -> NDArray[np.uint8]:
        """Decode to ``(H, W, 3) uint8`` RGB, as ``shared.images.decode``. Raises as ``probe``."""
        most = max(self.limits.max_pixels, self.limits.max_jpeg_pixels)
        head, body = self._run("decode", data, 3 * most, min_side_needed_px=min_side_needed_px)
        return body.reshape(head["shape"])

    def normalise(self, data: bytes, max_side_px: int, max_bytes: int) -> NormalisedImage:
        """Return the picture to store, as ``shared.images.normalise``. Raises as ``probe``."""
        head, body = self._run(
            "normalise", data, _MAX_FILE_BYTES, max_side_px=max_side_px, max_bytes=max_bytes
        )
        return NormalisedImage(body.tobytes(), head["width"], head["height"], head["source_format"])

    def rendition(self, data: bytes, max_side_px: int, format: Literal["WEBP", "JPEG"] = "WEBP") -> bytes:
        """Return a smaller copy for a page, as ``shared.images.rendition``. Raises as ``probe``."""
        _, body = self._run("rendition", data, _MAX_FILE_BYTES, max_side_px=max_side_px, format=format)
        return body.tobytes()

    def _run(
        self, op: str, data: bytes, max_body_bytes: int, **options: object
    ) -> tuple[Head, NDArray[np.uint8]]:
        head = {"op": op, "limits": self._limits, **options}
        return self._pool.run(head, data, self._budget, self._wait_s, max_body_bytes)
