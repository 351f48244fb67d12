"""Paint backgrounds like the vivid, abstract pictures of walls, posters and desktops.

Their curves and discs have the sharp edges and smooth shading of products. A detector trained only on
photographs as backgrounds takes them for products.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]


def paint_wallpaper(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Paint ribbons, overlapping shapes, or discs of light.

    Returns:
        (height, width, 3) uint8 RGB, writable.
    """
    kind = rng.random()
    if kind < 0.45:
        picture = _ribbons(rng, height, width)
    elif kind < 0.8:
        picture = _shapes(rng, height, width)
    else:
        picture = _lights(rng, height, width)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _palette(rng: np.random.Generator, count: int) -> Field:
    """Draw colours (count, 3), 0 to 255, most often of neighbouring hues."""
    hue = rng.uniform(0, 180) + rng.normal(0, 25 if rng.random() < 0.6 else 90, count)
    saturation = rng.uniform(20, 255) * rng.uniform(0.6, 1, count)
    value = rng.uniform(40, 255, count)
    hsv = np.stack([hue % 180, saturation, value], 1).astype(np.uint8)[None]
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0], np.float32)


def _smooth(rng: np.random.Generator, height: int, width: int, cells: int) -> Field:
    """Draw a smooth random field (height, width) of about unit deviation, with `cells` hills per side."""
    coarse = rng.standard_normal((cells + 2, cells + 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _ribbons(rng: np.random.Generator, height: int, width: int) -> Field:
    """Paint bent bands of colour with hard or soft edges, shaded across."""
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * xs + np.sin(angle) * ys + rng.uniform(0.05, 0.5) * _smooth(rng, height, width, 2)
    colours = _palette(rng, int(rng.integers(3, 8)))
    position = along * rng.uniform(1, 5) * len(colours)
    band = np.floor(position)
    shade = np.asarray(position - band, np.float32)
    first = colours[band.astype(int) % len(colours)]
    if rng.random() < 0.5:
        return np.asarray(first * (rng.uniform(0.3, 0.9) + 0.5 * shade[..., None]), np.float32)
    second = colours[(band.astype(int) + 1) % len(colours)]
    return np.asarray(first + (second - first) * shade[..., None], np.float32)


def _shapes(rng: np.random.Generator, height: int, width: int) -> Field:
    """Paint large round or cornered shapes over one another, shaded, some with a shadow."""
    count = int(rng.integers(3, 9))
    colours = _palette(rng, count + 1)
    picture = np.tile(colours[0], (height, width, 1)).astype(np.float32)
    ramp = 0.5 + 0.25 * _smooth(rng, height, width, 1)[..., None]
    for colour in colours[1:]:
        centre = rng.uniform(-0.2, 1.2, 2) * (width, height)
        reach = rng.uniform(0.15, 0.8) * max(height, width)
        corners = int(rng.integers(3, 7)) if rng.random() < 0.4 else 40
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, np.pi)
        wave = 1 + rng.uniform(0, 0.4) * np.sin(int(rng.integers(2, 6)) * angles + rng.uniform(0, 6))
        points = centre + reach * wave[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        alpha = np.zeros((height, width), np.uint8)
        cv2.fillPoly(alpha, [points.astype(np.int32)], 255, cv2.LINE_AA)
        weight = np.asarray(alpha[..., None] / 255, np.float32)
        if rng.random() < 0.4:
            shadow = cv2.GaussianBlur(alpha, (0, 0), float(rng.uniform(3, 15)))[..., None] / 255
            picture *= 1 - 0.5 * shadow
        fill = colour * (ramp + rng.uniform(0.2, 0.6))
        picture += (fill - picture) * weight * rng.uniform(0.5, 1)
    return picture


def _lights(rng: np.random.Generator, height: int, width: int) -> Field:
    """Paint soft discs and streaks on a dark or bright haze, like lamps out of focus."""
    colours = _palette(rng, 4)
    haze = np.clip(0.5 + 0.4 * _smooth(rng, height, width, 2), 0, 1)[..., None]
    picture = np.asarray(colours[0] * haze + colours[1] * (1 - haze), np.float32)
    glow = np.zeros((height, width, 3), np.float32)
    for _ in range(int(rng.integers(5, 40))):
        colour = tuple(float(v) for v in colours[rng.integers(4)] * rng.uniform(0.2, 0.8))
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        if rng.random() < 0.7:
            cv2.circle(glow, centre, int(rng.uniform(0.005, 0.08) * max(height, width)) + 1, colour, -1)
        else:
            end = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.line(glow, centre, end, colour, int(rng.integers(1, 6)))
    blurred = cv2.GaussianBlur(glow, (0, 0), float(rng.uniform(0.5, 6)))
    return np.asarray(picture + blurred, np.float32)
