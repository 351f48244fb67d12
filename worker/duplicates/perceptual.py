"""A picture's perceptual hash: near duplicates differ in few of its 64 bits."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.vision import Image

_SIDE_PX = 32
_ROWS, _COLUMNS = 8, 9
# Mirroring turns the sign of the frequencies with an odd column, and the median is near zero.
_TURNED = int.from_bytes(
    np.packbits([(n + 1) % _COLUMNS % 2 == 1 for n in range(64)]).tobytes(), "big", signed=True
)


def perceptual_hash(image: Image) -> int:
    """Return 64 bits as a signed number: which of the lowest frequencies are stronger than their median.

    Args:
        image: ``(H, W, 3) uint8``, upright. Size and compression change few bits.
    """
    # Grey first: one channel to average instead of three.
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    # The first of all is the mean brightness, which says nothing about what is seen.
    waves = cv2.dct(small)[:_ROWS, :_COLUMNS].ravel()[1:65]
    bits = np.packbits(waves > np.median(waves))
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def mirrored(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what the hashes of the mirrored pictures would be, but for a few bits."""
    return hashes ^ np.int64(_TURNED)


def hamming_distances(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return in how many bits hashes differ, or those of the mirrored pictures where that is fewer."""
    straight = np.bitwise_count((left ^ right).view(np.uint64))
    turned = np.bitwise_count((left ^ mirrored(right)).view(np.uint64))
    return np.minimum(straight, turned)
