"""Change the light of a scene, like dark rooms, coloured lamps and spots, and cast hard shadows."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

#: Minimum mean of a dark scene's pixels, 0 to 255.
MIN_MEAN = 22.0


def light_scene(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Change the light of a scene: dark, coloured, from one side, or through a window.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    light = np.ones((height, width, 3), np.float32)
    if rng.random() < 0.5:
        light *= _lamp_colour(rng)
    kind = rng.random()
    if kind < 0.35:
        light *= _spot(rng, height, width)[..., None]
    elif kind < 0.55:
        light *= _window(rng, height, width)[..., None]
    gamma = rng.uniform(1.2, 2.6) if rng.random() < 0.6 else rng.uniform(0.55, 1.0)
    gain = rng.uniform(0.45, 1.05) if gamma > 1 else rng.uniform(0.9, 1.25)
    lit = (image.astype(np.float32) / 255 * light) ** gamma * (gain * 255)
    if gamma > 1 and rng.random() < 0.6:
        # Dark photographs are noisy.
        lit += rng.standard_normal(image.shape).astype(np.float32) * rng.uniform(1, 9)
    # Keep a minimum brightness: darker scenes contain no signal.
    lit *= max(1.0, MIN_MEAN / max(1.0, float(lit.mean())))
    return np.clip(lit, 0, 255).astype(np.uint8)


def _lamp_colour(rng: np.random.Generator) -> NDArray[np.float32]:
    if rng.random() < 0.6:
        warm = rng.uniform(-0.4, 0.4)
        return np.array([1 + warm, 1, 1 - warm], np.float32)
    return np.asarray(rng.uniform(0.35, 1.2, 3), np.float32)


def _spot(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    ys, xs = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
    distance = np.hypot(ys - rng.uniform(0, 1), xs - rng.uniform(0, 1)) / rng.uniform(0.3, 1.2)
    floor = rng.uniform(0.15, 0.7)
    return np.asarray(floor + (1.2 - floor) * np.exp(-(distance**2)), np.float32)


def _window(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Draw bright slanted panes with soft edges."""
    shade = np.full((height, width), rng.uniform(0.35, 0.75), np.float32)
    slant, pane = rng.uniform(-0.6, 0.6) * width, rng.uniform(0.1, 0.35) * width
    left = rng.uniform(-0.3, 0.6) * width
    for number in range(int(rng.integers(1, 4))):
        x = left + number * pane * 1.25
        corners = [[x, 0], [x + pane, 0], [x + pane + slant, height], [x + slant, height]]
        cv2.fillPoly(shade, [np.array(corners, np.int32)], 1.15)
    return np.asarray(cv2.GaussianBlur(shade, (0, 0), float(rng.uniform(0.7, 5))), np.float32)


def cast_hard_shadow(rng: np.random.Generator, canvas: Pixels, patch: Pixels, top: int, left: int) -> None:
    """Darken the floor by a product's silhouette from its foot, like a shadow of sun or lamp.

    Args:
        canvas: (H, W, 3) uint8 RGB, changed in place.
        patch: (h, w, 4) uint8, the product to be pasted at (left, top).
    """
    height, width = canvas.shape[:2]
    h = patch.shape[0]
    shade = np.asarray(patch[..., 3], np.float32) / 255
    foot = h * rng.uniform(0.9, 1.0)
    length = rng.uniform(0.25, 1.3) * (-1 if rng.random() < 0.3 else 1)
    slant = rng.uniform(-1.3, 1.3)
    # y of the shadow is foot + length * (y - foot); x shifts by the slant times the height above the foot.
    matrix = np.array(
        [
            [1, -slant, left + slant * foot],
            [0, length, top + foot * (1 - length)],
        ],
        np.float64,
    )
    shadow = cv2.warpAffine(shade, matrix, (width, height), flags=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(shadow, (0, 0), float(rng.uniform(0.5, 5)))
    tint = np.array([1, 1, rng.uniform(0.75, 1.0)], np.float32)
    dark = np.asarray(soft, np.float32)[..., None] * rng.uniform(0.25, 0.8) * tint
    canvas[:] = np.clip(canvas * (1 - dark), 0, 255)
