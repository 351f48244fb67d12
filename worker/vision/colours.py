"""Name the main colours of an object, for filters and colour restrictions.

A pixel has the name of the nearest reference colour in CIELAB, where distances approximate perceived ones.
An object's colours are the names that cover a large share of it. Illumination is not corrected.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.filters.vocabulary import COLOURS
from worker.vision import Image
from worker.vision.crops import resize

#: Minimum share of an object that a main colour covers.
MIN_SHARE = 0.18
MAX_COLOURS = 3
_SIDE_PX = 64
# A multiple of _SIDE_PX: averaging whole pixels takes a tenth of the time.
_SAMPLED_PX = 3 * _SIDE_PX

# Reference colours of each name in sRGB: several where a name covers light, dark, dull and vivid ones.
_REFERENCES = {
    "black": ((0, 0, 0), (25, 25, 28), (40, 38, 38)),
    "white": ((255, 255, 255), (240, 240, 238), (232, 230, 224), (250, 245, 235)),
    "grey": ((75, 75, 77), (105, 105, 105), (130, 131, 133), (160, 160, 160), (190, 190, 190),
             (211, 211, 211)),
    "red": ((220, 20, 30), (180, 20, 25), (130, 15, 20), (235, 60, 50), (165, 42, 42)),
    "orange": ((255, 140, 0), (245, 110, 20), (255, 165, 50), (225, 110, 40)),
    "yellow": ((255, 225, 0), (250, 240, 100), (230, 190, 20), (255, 245, 170), (215, 185, 60)),
    "green": ((0, 128, 0), (60, 179, 60), (20, 80, 40), (130, 200, 90), (85, 107, 47), (150, 170, 110),
              (0, 150, 110), (160, 215, 160), (40, 60, 40)),
    "blue": ((0, 0, 200), (30, 60, 140), (15, 25, 70), (65, 130, 225), (120, 180, 230), (0, 160, 200),
             (175, 210, 235), (80, 110, 150), (40, 50, 75), (0, 120, 140), (64, 200, 205)),
    "purple": ((128, 0, 128), (90, 30, 130), (150, 90, 200), (180, 140, 215), (70, 35, 85), (110, 50, 90)),
    "pink": ((255, 105, 180), (255, 182, 193), (240, 130, 160), (230, 60, 140), (250, 210, 215),
             (215, 140, 150)),
    "brown": ((101, 67, 33), (139, 90, 43), (80, 50, 30), (160, 120, 80), (60, 40, 28), (190, 150, 105),
              (120, 72, 48), (205, 175, 135), (150, 75, 30)),
}  # fmt: skip
# A pixel of less chroma is black, grey or white by its lightness; dark pixels need more chroma to look
# coloured.
_MIN_CHROMA, _MIN_CHROMA_DARK = 7.0, 14.0
_MAX_BLACK_LIGHTNESS, _MIN_WHITE_LIGHTNESS = 24.0, 83.0
# Maximum distance in CIELAB from a plain background's colour: of its shades, which count only where they
# reach the border, and of the background itself seen through a hole of the object.
_MAX_SHADE_DISTANCE, _MAX_SAME_DISTANCE = 9.0, 2.5
# Minimum share of the border with one colour if the background is plain.
_MIN_PLAIN_BORDER = 0.6
# Minimum share of the crop that an object covers; below, the whole crop counts.
_MIN_OBJECT = 0.05
# Bits per channel of the lookup table: eight of 256 steps look the same.
_BITS = 5


def main_colours(image: Image, mask: NDArray[np.float32] | None = None) -> list[str]:
    """Return the names of the one to three main colours, the largest share first.

    Args:
        image: ``(H, W, 3) uint8`` RGB, the crop of the object, H and W at least 1.
        mask: ``(h, w) float32`` in 0..1 over the crop, at any resolution. Without one, a plain background
            that reaches the border is left out, and the middle is weighted more.
    """
    small = _shrink(image)
    weights = estimate_foreground(small) if mask is None else _resize_mask(mask)
    if weights.sum() < _MIN_OBJECT * weights.size:
        weights = np.ones_like(weights)
    red, green, blue = np.moveaxis((small >> (8 - _BITS)).astype(np.intp), -1, 0)
    names = _name_table().take((red << 2 * _BITS | green << _BITS | blue).ravel())
    shares = np.bincount(names, weights.ravel(), minlength=len(COLOURS)) / weights.sum()
    order = np.argsort(-shares, kind="stable")[:MAX_COLOURS]
    return [COLOURS[n] for n in order if shares[n] >= MIN_SHARE] or [COLOURS[order[0]]]


def _shrink(image: Image) -> Image:
    """Scale the crop to ``_SIDE_PX`` per side; large ones are subsampled first, for speed."""
    if min(image.shape[:2]) > _SAMPLED_PX:
        image = np.asarray(
            cv2.resize(image, (_SAMPLED_PX, _SAMPLED_PX), interpolation=cv2.INTER_NEAREST), np.uint8
        )
    return resize(image, _SIDE_PX, _SIDE_PX)


def _resize_mask(mask: NDArray[np.float32]) -> NDArray[np.float64]:
    soft = cv2.resize(mask, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_LINEAR)
    return np.asarray(soft > 0.5, np.float64)


def estimate_foreground(small: Image) -> NDArray[np.float64]:
    """Weight pixels: 0 for a plain background connected to the border, more in the middle."""
    lab = to_lab(small)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    difference = lab - np.median(border, axis=0)
    squared = np.einsum("ijk,ijk->ij", difference, difference)
    similar = squared < _MAX_SHADE_DISTANCE**2
    edge = np.concatenate([similar[0], similar[-1], similar[:, 0], similar[:, -1]])
    if edge.mean() < _MIN_PLAIN_BORDER:
        return _centre_weights()
    count, parts = cv2.connectedComponents(similar.astype(np.uint8))
    reaches_border = np.zeros(count, bool)
    for side in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        reaches_border[side] = True
    background = similar & reaches_border[parts] | (squared < _MAX_SAME_DISTANCE**2)
    return np.where(background, 0.0, _centre_weights())


@lru_cache(maxsize=1)
def _centre_weights() -> NDArray[np.float64]:
    """Return weights by position: 1 in the middle, 0.3 at the border."""
    distance = np.abs(np.linspace(-1.0, 1.0, _SIDE_PX))
    weights: NDArray[np.float64] = 1.0 - 0.7 * np.maximum(distance[:, None], distance[None, :])
    weights.flags.writeable = False
    return weights


def to_lab(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert ``(..., 3)`` sRGB to CIELAB: lightness 0 to 100, and two colour axes."""
    flat = np.ascontiguousarray(colours.reshape(1, -1, 3), np.float32) / 255
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2LAB), np.float32).reshape(colours.shape)


@lru_cache(maxsize=1)
def _name_table() -> NDArray[np.intp]:
    """Compute the index of the name of each colour of ``_BITS`` bits per channel, ordered by red first."""
    steps = (np.arange(1 << _BITS, dtype=np.uint16) << (8 - _BITS)) + (1 << (7 - _BITS))
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).astype(np.uint8)
    lab = to_lab(grid.reshape(-1, 3))
    known = to_lab(np.array([c for each in _REFERENCES.values() for c in each], np.uint8))
    owners = np.array([COLOURS.index(name) for name, each in _REFERENCES.items() for _ in each])
    squared = (lab**2).sum(1)[:, None] - 2 * lab @ known.T + (known**2).sum(1)
    names = owners[np.argmin(squared, axis=1)]
    limit = np.interp(lab[:, 0], [10.0, 40.0], [_MIN_CHROMA_DARK, _MIN_CHROMA])
    colourless = np.hypot(lab[:, 1], lab[:, 2]) < limit
    light = np.where(lab[:, 0] > _MIN_WHITE_LIGHTNESS, "white", "grey")
    grey = np.where(lab[:, 0] < _MAX_BLACK_LIGHTNESS, "black", light)
    by_lightness = np.array([COLOURS.index(str(name)) for name in grey])
    return np.where(colourless, by_lightness, names)
