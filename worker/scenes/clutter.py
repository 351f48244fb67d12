"""Paint what is not a product: the background of a photograph, and clutter pasted on it.

Without pasted clutter a detector learns to find the pasting, not the product.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Photo = Callable[[np.random.Generator], Pixels]


def paint_background(rng: np.random.Generator, height: int, width: int, photo: Photo) -> Pixels:
    """Paint a crop of a photograph (most often), a colour, a gradient, a pattern, or a wall over a floor.

    Returns:
        (height, width, 3) uint8 RGB, writable.
    """
    kind = rng.random()
    if kind < 0.72:
        return crop_photo(rng, photo(rng), height, width)
    if kind < 0.80:
        return np.tile(_colour(rng), (height, width, 1)).astype(np.uint8)
    if kind < 0.88:
        return _gradient(rng, height, width)
    if kind < 0.95:
        return _pattern(rng, height, width)
    wall = _gradient(rng, height, width)
    horizon = int(height * rng.uniform(0.3, 0.8))
    wall[horizon:] = (
        crop_photo(rng, photo(rng), height, width) if rng.random() < 0.5 else _gradient(rng, height, width)
    )[horizon:]
    return wall


def paint_clutter(rng: np.random.Generator, canvas: Pixels, photo: Photo, count: int) -> NDArray[np.bool_]:
    """Paste `count` random shapes, textured or plain, on `canvas` in place.

    Returns:
        (H, W) bool, the pixels covered.
    """
    height, width = canvas.shape[:2]
    covered = np.zeros((height, width), np.bool_)
    for _ in range(count):
        alpha = _shape(rng, height, width)
        kind = rng.random()
        if kind < 0.5:
            fill = crop_photo(rng, photo(rng), height, width)
        elif kind < 0.75:
            fill = _gradient(rng, height, width)
        else:
            fill = np.tile(_colour(rng), (height, width, 1)).astype(np.uint8)
        weight = alpha[..., None]
        canvas[:] = canvas * (1 - weight) + fill * weight
        covered |= alpha > 0.5
    return covered


def crop_photo(rng: np.random.Generator, picture: Pixels, height: int, width: int) -> Pixels:
    """Cut a random part of a photograph, mirrored half of the time, scaled to (height, width, 3)."""
    full_h, full_w = picture.shape[:2]
    fit = min(full_h / height, full_w / width) * rng.uniform(0.35, 1.0)
    h, w = max(8, int(height * fit)), max(8, int(width * fit))
    top, left = int(rng.integers(0, full_h - h + 1)), int(rng.integers(0, full_w - w + 1))
    part = picture[top : top + h, left : left + w]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    method = cv2.INTER_AREA if fit > 1 else cv2.INTER_LINEAR
    return np.array(cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=method), np.uint8)


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a colour, mostly a pale, unsaturated one of walls and tables."""
    if rng.random() < 0.6:
        return np.clip(rng.uniform(120, 250) + rng.normal(0, 12, 3), 0, 255)
    return rng.uniform(0, 255, 3)


def _gradient(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint a gradient between two colours along a random direction, or towards the corners."""
    ys, xs = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    if rng.random() < 0.3:
        along = np.sqrt(ys**2 + xs**2) / 1.415
    else:
        angle = rng.uniform(0, 2 * np.pi)
        along = (np.cos(angle) * xs + np.sin(angle) * ys) / 2.83 + 0.5
    first = _colour(rng)
    second = _colour(rng) if rng.random() < 0.4 else np.clip(first * rng.uniform(0.5, 1.2), 0, 255)
    return (first + (second - first) * along[..., None]).astype(np.uint8)


def _pattern(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint stripes or waves between two gradients, like fabric, panels and wallpapers."""
    ys, xs = np.mgrid[0:height, 0:width] / max(height, width)
    angle, bend = rng.uniform(0, np.pi), rng.uniform(0, 0.4)
    along = np.cos(angle) * xs + np.sin(angle) * ys
    across = np.cos(angle) * ys - np.sin(angle) * xs
    wave = np.sin(2 * np.pi * rng.uniform(1, 25) * (along + bend * np.sin(rng.uniform(2, 9) * across)))
    weight = np.clip(wave * np.exp(rng.uniform(0, 3)) / 2 + 0.5, 0, 1)[..., None]
    first, second = _gradient(rng, height, width), _gradient(rng, height, width)
    return np.asarray(first * weight + second * (1 - weight), np.uint8)


def _shape(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Draw the alpha, 0 to 1, of one random polygon, ellipse, bar or stroke."""
    alpha = np.zeros((height, width), np.uint8)
    centre = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    reach = min(height, width) * rng.uniform(0.05, 0.35)
    kind = rng.random()
    if kind < 0.4:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        radii = reach * rng.uniform(0.4, 1.0, len(angles))
        points = centre + np.stack([np.cos(angles) * radii, np.sin(angles) * radii], 1)
        cv2.fillPoly(alpha, [points.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind < 0.6:
        axes = (int(reach) + 1, int(reach * rng.uniform(0.3, 1)) + 1)
        cv2.ellipse(
            alpha, centre.astype(int).tolist(), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA
        )
    elif kind < 0.8:
        box = (
            centre.tolist(),
            (float(reach * 2), float(reach * rng.uniform(0.2, 2))),
            float(rng.uniform(0, 90)),
        )
        cv2.fillPoly(alpha, [cv2.boxPoints(box).astype(np.int32)], 255, cv2.LINE_AA)
    else:
        points = centre + np.cumsum(rng.normal(0, reach / 2, (int(rng.integers(3, 8)), 2)), 0)
        cv2.polylines(alpha, [points.astype(np.int32)], False, 255, int(rng.integers(2, 12)), cv2.LINE_AA)
    soft = np.asarray(alpha / 255, np.float32)
    if rng.random() < 0.4:
        soft = np.asarray(cv2.GaussianBlur(soft, (0, 0), float(rng.uniform(0.5, 3))), np.float32)
    return soft
