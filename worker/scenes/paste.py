"""Transform cut-outs, and cast their shadows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def scale(patch: Pixels, size: tuple[int, int]) -> Pixels:
    """Scale a patch to (width, height): averaged when it shrinks, interpolated when it grows."""
    shrinks = size[0] < patch.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(patch, size, interpolation=method), np.uint8)


def rotate(patch: Pixels, degrees: float) -> Pixels:
    """Rotate about the centre, with a frame that contains the corners."""
    h, w = patch.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    out_w, out_h = int(h * sin + w * cos) + 1, int(h * cos + w * sin) + 1
    matrix[0, 2] += out_w / 2 - w / 2
    matrix[1, 2] += out_h / 2 - h / 2
    rotated = cv2.warpAffine(patch, matrix, (out_w, out_h), flags=cv2.INTER_LINEAR)
    return np.asarray(rotated, np.uint8)


def cast_shadow(
    rng: np.random.Generator, canvas: Pixels, patch: Pixels, top: int, left: int, catalogue: bool
) -> None:
    """Cast a soft shadow next to the product or flat at its foot; one in three products has none."""
    if rng.random() < 0.35:
        return
    height, width = canvas.shape[:2]
    h, w = patch.shape[:2]
    shade = np.asarray(patch[..., 3] / 255, np.float32)
    if rng.random() < 0.5:
        flat = max(2, int(h * rng.uniform(0.05, 0.3)))
        shade = np.asarray(cv2.resize(shade, (w, flat), interpolation=cv2.INTER_AREA), np.float32)
        top += h - int(flat * rng.uniform(0.5, 0.8))
    else:
        top += int(h * rng.uniform(-0.02, 0.08))
        left += int(w * rng.uniform(-0.08, 0.08))
    spread = max(1.0, 0.04 * max(h, w) * float(rng.uniform(0.3, 1.5)))
    border = int(3 * spread)
    shade = np.asarray(cv2.GaussianBlur(np.pad(shade, border), (0, 0), spread), np.float32)
    top, left = top - border, left - border
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + shade.shape[0], height), min(left + shade.shape[1], width)
    if y1 <= y0 or x1 <= x0:
        return
    dark = shade[y0 - top : y1 - top, x0 - left : x1 - left, None] * rng.uniform(
        0.1, 0.35 if catalogue else 0.6
    )
    canvas[y0:y1, x0:x1] = canvas[y0:y1, x0:x1] * (1 - dark)
