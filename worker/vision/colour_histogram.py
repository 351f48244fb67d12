"""Describe an object's colours as a part of its embedding.

A network trained on shapes and textures ignores colour: a search for a blue chair returns an orange one. The
histogram is over CIELAB, with each pixel distributed over the eight nearest bins, so that a small change of
light changes it little. Its square roots have norm 1, and their dot product is Bhattacharyya's coefficient,
0 to 1.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.vision import Embeddings, Image
from worker.vision.colours import estimate_foreground, to_lab
from worker.vision.crops import resize
from worker.vision.models import ColourPlan

#: Side to which crops are scaled.
SIDE_PX = 64
#: Limit of CIELAB's two colour axes, which range from -128 to 127: values beyond are rare and are clipped.
MAX_OPPONENT = 60.0
# Bits per channel of the lookup table: eight of 256 steps look the same.
_BITS = 5
#: Minimum share of the crop that an outline covers; below, the foreground is estimated instead.
MIN_OUTLINE = 0.01


def describe_colours(crop: Image, outline: NDArray[np.uint8], plan: ColourPlan) -> NDArray[np.float32]:
    """Return the histogram of an object's colours.

    Args:
        crop: ``(S, S, 3) uint8`` RGB, with the background.
        outline: ``(S, S) uint8``, 255 inside the object; all 0 where it is unknown: then a plain background
            that reaches the border is left out, and the middle is weighted more.

    Returns:
        ``(plan.dim,) float32``, 0 or more, of norm 1.
    """
    small = resize(crop, SIDE_PX, SIDE_PX)
    weights = cv2.resize(outline, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
    if weights.sum() < MIN_OUTLINE * 255 * weights.size:
        weights = estimate_foreground(small)
    if weights.sum() <= 0:
        weights = np.ones_like(weights)
    red, green, blue = np.moveaxis((small >> (8 - _BITS)).astype(np.intp), -1, 0)
    codes = (red << 2 * _BITS | green << _BITS | blue).ravel()
    counts = np.bincount(codes, weights.ravel(), minlength=1 << 3 * _BITS)
    present = np.flatnonzero(counts)
    index, share = _bin_shares(plan)
    parts = share[present] * counts[present, np.newaxis]
    bins = np.bincount(index[present].ravel(), parts.ravel(), minlength=plan.dim)
    return np.asarray(np.sqrt(bins / bins.sum()), np.float32)


@lru_cache(maxsize=4)
def _bin_shares(plan: ColourPlan) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Compute the eight bins of each colour of ``_BITS`` bits per channel, and its share in each.

    A lookup table takes a fifth of the time of distributing every pixel.

    Returns:
        ``(colours, 8)`` bins, and ``(colours, 8)`` shares of sum 1; colours are ordered by red, green, blue.
    """
    steps = (np.arange(1 << _BITS, dtype=np.uint16) << (8 - _BITS)) + (1 << (7 - _BITS))
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = to_lab(colours.astype(np.uint8))
    sizes = np.array((plan.lightness, plan.opponent, plan.opponent))
    low, high = np.array([0, -MAX_OPPONENT, -MAX_OPPONENT]), np.array([100, MAX_OPPONENT, MAX_OPPONENT])
    position = (np.clip(lab, low, high) - low) / (high - low) * (sizes - 1)
    first = np.minimum(position.astype(np.intp), sizes - 2)
    beyond = position - first
    corners = [np.array(corner) for corner in product((0, 1), repeat=3)]
    index = [np.ravel_multi_index(tuple((first + corner).T), tuple(sizes)) for corner in corners]
    share = [np.where(corner, beyond, 1 - beyond).prod(axis=1) for corner in corners]
    return np.stack(index, axis=1), np.stack(share, axis=1)


def add_colours(
    rows: Embeddings, crops: NDArray[np.uint8], outlines: NDArray[np.uint8], plan: ColourPlan
) -> Embeddings:
    """Append colours to embeddings; the cosine becomes the weighted mean of both similarities.

    Args:
        rows: ``(N, D) float32``, of norm 1.
        crops: ``(N, S, S, 3) uint8``, with their background.
        outlines: ``(N, S, S) uint8``.

    Returns:
        ``(N, D + plan.dim) float32``, of norm 1.
    """
    colours = np.stack(
        [describe_colours(crop, outline, plan) for crop, outline in zip(crops, outlines, strict=True)]
    )
    joined = np.concatenate([rows, np.sqrt(plan.weight) * colours], axis=1)
    return np.asarray(joined / np.sqrt(1 + plan.weight), np.float32)
