"""Paint patterned floors in perspective: tiles, planks, stripes, checks and rugs under a wall.

A detector trained on flat backgrounds takes the stripes of a real floor for products.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.scenes.clutter import Photo, crop_photo

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]

#: Side of the flat texture before its projection.
TEXTURE_PX = 384


def paint_ground(rng: np.random.Generator, height: int, width: int, photo: Photo) -> Pixels:
    """Paint a patterned floor below a wall, or from above so that it fills the frame.

    Returns:
        (height, width, 3) uint8 RGB, writable.
    """
    from_above = rng.random() < 0.35
    horizon = int(-height * rng.uniform(0.2, 3.0)) if from_above else int(height * rng.uniform(0.05, 0.7))
    texture = paint_texture(rng, photo)
    floor = _project(rng, texture, height, width, horizon)
    if horizon <= 0:
        return _shade(rng, floor)
    wall = _wall(rng, height, width, photo)
    floor[:horizon] = wall[:horizon]
    if rng.random() < 0.5:
        thickness = max(1, int(height * rng.uniform(0.005, 0.05)))
        floor[max(0, horizon - thickness) : horizon] = _tone(rng)
    return _shade(rng, floor)


def paint_texture(rng: np.random.Generator, photo: Photo) -> Pixels:
    """Paint a flat pattern, (384, 384, 3) uint8: checks, tiles, stripes, planks, dots, or a photograph."""
    side = TEXTURE_PX
    ys, xs = np.mgrid[0:side, 0:side].astype(np.float32) / side
    count = int(rng.integers(3, 24))
    first, second = _tone(rng), _tone(rng)
    kind = rng.random()
    if kind < 0.2:
        weight = ((np.floor(xs * count) + np.floor(ys * count)) % 2)[..., None]
    elif kind < 0.4:
        share = rng.uniform(0.02, 0.15)
        weight = (((xs * count) % 1 < share) | ((ys * count) % 1 < share))[..., None]
    elif kind < 0.65:
        weight = ((xs * count) % 1 < rng.uniform(0.15, 0.85))[..., None]
    elif kind < 0.8:
        return _planks(rng, count)
    elif kind < 0.9:
        dots = np.hypot((xs * count) % 1 - 0.5, (ys * count) % 1 - 0.5) < rng.uniform(0.1, 0.45)
        weight = dots[..., None]
    else:
        return crop_photo(rng, photo(rng), side, side)
    picture = first + (second - first) * np.asarray(weight, np.float32)
    noise = rng.standard_normal((side, side, 1)).astype(np.float32) * rng.uniform(0, 14)
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


def _planks(rng: np.random.Generator, count: int) -> Pixels:
    """Paint boards of slightly different tones with grain and dark joints."""
    side = TEXTURE_PX
    tones = _tone(rng) * rng.uniform(0.75, 1.15, (count, 1)).astype(np.float32)
    board = np.minimum(np.arange(side) * count // side, count - 1)
    grain = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), 1, sigmaY=18)
    picture = np.tile(tones[board][None], (side, 1, 1)) * (1 + 0.6 * grain[..., None])
    picture[:, np.flatnonzero(np.diff(board))] *= rng.uniform(0.3, 0.9)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _project(rng: np.random.Generator, texture: Pixels, height: int, width: int, horizon: int) -> Pixels:
    """Project a flat texture onto the floor below `horizon`, at a random angle."""
    side = TEXTURE_PX
    angle = rng.uniform(0, 2 * np.pi)
    reach = rng.uniform(0.35, 0.7) * side
    corners = angle + np.pi / 4 + np.arange(4) * np.pi / 2
    source = side / 2 + reach * np.stack([np.cos(corners), np.sin(corners)], 1)
    spread = rng.uniform(0.3, 2.0) * width
    depth = max(1.0, (height - horizon) * rng.uniform(0.02, 0.25))
    target = np.array(
        [
            [-0.1 * width, horizon + depth],
            [1.1 * width, horizon + depth],
            [width + spread, height * 1.05],
            [-spread, height * 1.05],
        ]
    )
    matrix = cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32))
    projected = cv2.warpPerspective(
        texture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    return np.array(projected, np.uint8)


def _wall(rng: np.random.Generator, height: int, width: int, photo: Photo) -> Pixels:
    kind = rng.random()
    if kind < 0.35:
        return crop_photo(rng, photo(rng), height, width)
    if kind < 0.55:
        texture = paint_texture(rng, photo)
        return np.array(cv2.resize(texture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.tile(_tone(rng), (height, width, 1)).astype(np.uint8)


def _shade(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """Make the light decrease along a random direction."""
    height, width = picture.shape[:2]
    ys, xs = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = 1 + rng.uniform(0, 0.35) * (np.cos(angle) * xs + np.sin(angle) * ys)
    return np.asarray(np.clip(picture * ramp[..., None], 0, 255), np.uint8)


def _tone(rng: np.random.Generator) -> Field:
    """Draw the colour of a floor or wall, mostly a grey, a brown or a pale tone."""
    kind = rng.random()
    if kind < 0.45:
        return np.asarray(np.clip(rng.uniform(20, 250) + rng.normal(0, 8, 3), 0, 255), np.float32)
    if kind < 0.75:
        wood = np.array([0.75, 0.55, 0.38]) * rng.uniform(80, 330)
        return np.asarray(np.clip(wood + rng.normal(0, 10, 3), 0, 255), np.float32)
    return np.asarray(rng.uniform(0, 255, 3), np.float32)
