"""A picture's perceptual hash: near duplicates differ in few of its 64 bits."""

from __future__ import annotations

import cv2
import numpy as np

from worker.vision import Image

_SIDE_PX = 32
_ROWS, _COLUMNS = 8, 9


def perceptual_hash(image: Image) -> int:
    """Return 64 bits as a signed number: which of the lowest frequencies are stronger than their median.

    Args:
        image: ``(H, W, 3) uint8``, upright. Size and compression change few bits.
    """
    small = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # The first of all is the mean brightness, which says nothing about what is seen.
    waves = cv2.dct(grey)[:_ROWS, :_COLUMNS].ravel()[1:65]
    bits = np.packbits(waves > np.median(waves))
    return int.from_bytes(bits.tobytes(), "big", signed=True)
