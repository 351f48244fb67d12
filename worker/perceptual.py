"""A picture's perceptual hash: near duplicates differ in few of its 64 bits."""

from __future__ import annotations

import cv2
import numpy as np

from worker.vision import Image

_SIDE_PX = 32
_WAVES = 8


def perceptual_hash(image: Image) -> int:
    """Return 64 bits as a signed number: which of the lowest frequencies are stronger than their median.

    Args:
        image: ``(H, W, 3) uint8``, upright. Size and compression change few bits.
    """
    small = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    waves = cv2.dct(grey)[:_WAVES, :_WAVES].ravel()
    # The first is the mean brightness, which would move the median and says nothing itself.
    bits = np.packbits(waves > np.median(waves[1:]))
    return int.from_bytes(bits.tobytes(), "big", signed=True)
