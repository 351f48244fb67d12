"""Compute perceptual hashes: near duplicates differ in few of 64 bits."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.vision import Image

_SIDE_PX = 32
_ROWS, _COLUMNS = 8, 9
# Mirroring flips the sign of frequencies with an odd column, and the median is near zero.
_MIRROR_MASK = int.from_bytes(
    np.packbits([(n + 1) % _COLUMNS % 2 == 1 for n in range(64)]).tobytes(), "big", signed=True
)


def perceptual_hash(image: Image) -> int:
    """Return 64 bits as a signed number: which of the lowest frequencies exceed their median.

    Args:
        image: ``(H, W, 3) uint8``, upright. Size and compression change few bits.
    """
    # Convert to grey first: averaging one channel is cheaper than three.
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    # Skip the first one, the mean brightness, which does not describe the content.
    waves = cv2.dct(small)[:_ROWS, :_COLUMNS].ravel()[1:65]
    bits = np.packbits(waves > np.median(waves))
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def mirror_hashes(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the hashes of the mirrored pictures, except for a few bits."""
    return hashes ^ np.int64(_MIRROR_MASK)


def hamming_distances(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Count the differing bits of hashes, or of the mirrored pictures' where those are fewer."""
    direct = np.bitwise_count((left ^ right).view(np.uint64))
    mirrored = np.bitwise_count((left ^ mirror_hashes(right)).view(np.uint64))
    return np.minimum(direct, mirrored)
