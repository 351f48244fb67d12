"""Segment the product of a catalogue picture from its background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.vision import Detection, Detector, Image
from worker.vision.crops import resize, to_pixels

#: Longest side of a picture that is segmented; larger ones are scaled down first.
MAX_SIDE_PX = 480
#: Maximum difference, per channel, between a plain background and its median colour.
_PLAIN_TOLERANCE = 12
#: Minimum share of border pixels within that tolerance of a plain background.
_MIN_PLAIN_BORDER = 0.9
#: A mask with a share of the picture outside these limits is no product, or no segmentation.
_MIN_SHARE, _MAX_SHARE = 0.01, 0.97

Alpha = NDArray[np.uint8]


def segment_product(image: Image, detector: Detector) -> Alpha | None:
    """Return the opacity of the product in a picture, None where no product is found.

    On a plain background the product is all that the background's flood fill does not reach; elsewhere it
    is the mask of the most prominent object.

    Args:
        image: ``(H, W, 3) uint8``.
        detector: used only where the background is not plain.

    Returns:
        ``(H, W) uint8``, 255 is opaque.
    """
    scale = min(1.0, MAX_SIDE_PX / max(image.shape[:2]))
    if scale < 1:
        width, height = (max(1, round(n * scale)) for n in (image.shape[1], image.shape[0]))
        return _enlarge(segment_product(resize(image, width, height), detector), image)
    alpha = _flood_background(image)
    if alpha is None:
        alpha = _detect_mask(image, detector)
    if alpha is None or not _MIN_SHARE < float((alpha > 127).mean()) < _MAX_SHARE:
        return None
    return alpha


def _enlarge(alpha: Alpha | None, image: Image) -> Alpha | None:
    if alpha is None:
        return None
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _flood_background(image: Image) -> Alpha | None:
    """Return what a flood fill of a plain background leaves; None where the border is not plain."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(np.int16)
    background = np.median(border, axis=0)
    plain = np.abs(border - background).max(axis=1) <= _PLAIN_TOLERANCE
    if plain.mean() < _MIN_PLAIN_BORDER:
        return None
    similar = (np.abs(image.astype(np.int16) - background).max(axis=2) <= _PLAIN_TOLERANCE).astype(np.uint8)
    _, parts = cv2.connectedComponents(np.pad(similar, 1, constant_values=1))
    product = (parts[1:-1, 1:-1] != parts[0, 0]).astype(np.uint8)
    # Erode by one pixel, where the colours of product and background mix.
    product = np.asarray(cv2.erode(product, np.ones((3, 3), np.uint8)), np.uint8)
    return np.asarray(cv2.GaussianBlur(product * 255, (3, 3), 0), np.uint8)


def _detect_mask(image: Image, detector: Detector) -> Alpha | None:
    detections: list[Detection] = detector.detect([image])[0]
    if not detections or detections[0].mask is None:
        return None
    alpha = np.zeros(image.shape[:2], np.uint8)
    x0, y0, x1, y1 = to_pixels(detections[0].box, image.shape[1], image.shape[0])
    inside = cv2.resize(detections[0].mask, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    alpha[y0:y1, x0:x1] = np.clip((inside - 0.3) / 0.4, 0, 1) * 255
    return alpha
