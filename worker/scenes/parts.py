"""Add parts to products, such as seats in another colour, prints and straps, and hands in front of them.

A detector trained on products of one piece finds only the cushion of a sofa.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.scenes.photometry import recolour

Pixels = NDArray[np.uint8]


def add_parts(rng: np.random.Generator, patch: Pixels) -> Pixels:
    """Recolour some areas of a cut-out; its outline stays, or gains a strap.

    Args:
        patch: (h, w, 4) uint8, colour premultiplied by alpha.

    Returns:
        (h, w, 4) uint8, premultiplied.
    """
    height, width = patch.shape[:2]
    if min(height, width) < 12:
        return patch
    result = patch.copy()
    for _ in range(int(rng.integers(1, 4))):
        area = _area(rng, height, width)[..., None]
        other = recolour(rng, patch) if rng.random() < 0.5 else _plain(rng, patch)
        result = np.asarray(result * (1 - area) + other * area, np.uint8)
        result[..., 3] = patch[..., 3]
    if rng.random() < 0.2 and (result[..., 3] > 127).any():
        result = _add_strap(rng, result)
    return result


def squeeze(rng: np.random.Generator, patch: Pixels) -> Pixels:
    """Make a cut-out thinner along its shorter side, because thin products are rare."""
    height, width = patch.shape[:2]
    ratio = rng.uniform(0.3, 0.7)
    size = (max(4, int(width * ratio)), height) if height >= width else (width, max(4, int(height * ratio)))
    return np.asarray(cv2.resize(patch, size, interpolation=cv2.INTER_AREA), np.uint8)


def paint_hand(rng: np.random.Generator, canvas: Pixels, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Paint an arm whose fingers reach over the edge of `box` (x0, y0, x1, y1).

    Returns:
        (H, W) bool, the pixels covered.
    """
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = box
    size = max(6.0, 0.25 * max(x1 - x0, y1 - y0))
    side = rng.random()
    edge_x = float(x0 if side < 0.5 else x1)
    wrist = np.array([edge_x + (-size if side < 0.5 else size) * 0.3, rng.uniform(y0, y1) + size * 0.6])
    elbow = np.array([0.0 if side < 0.5 else float(width), float(height)])
    alpha = np.zeros((height, width), np.uint8)
    _stroke(alpha, elbow, wrist, size * 0.8)
    cv2.circle(alpha, _point(wrist), int(size * 0.5) + 1, 255, -1, cv2.LINE_AA)
    inward = 1 if side < 0.5 else -1
    for number in range(int(rng.integers(3, 6))):
        start = wrist + np.array([0, (number - 2) * size * 0.22])
        reach = np.array([inward * rng.uniform(0.5, 1.1), rng.uniform(-0.3, 0.1)])
        end = start + reach * size
        _stroke(alpha, start, end, size * 0.2)
    soft = np.asarray(cv2.GaussianBlur(alpha, (0, 0), 0.8), np.float32)[..., None] / 255
    skin = np.array([1.0, 0.75, 0.6]) * rng.uniform(60, 240) + rng.normal(0, 6, 3)
    ramp = np.linspace(rng.uniform(0.7, 1), rng.uniform(0.8, 1.15), height)[:, None, None]
    canvas[:] = np.clip(canvas * (1 - soft) + skin * ramp * soft, 0, 255)
    return alpha > 127


def _stroke(alpha: Pixels, start: NDArray[np.float64], end: NDArray[np.float64], thick: float) -> None:
    cv2.line(alpha, _point(start), _point(end), 255, max(1, int(thick)), cv2.LINE_AA)


def _point(position: NDArray[np.float64]) -> tuple[int, int]:
    return int(position[0]), int(position[1])


def _area(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Draw the alpha of a part, 0 to 1 (height, width): a band, a box, a disc, or one side of a line."""
    alpha = np.zeros((height, width), np.uint8)
    centre = np.array([rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.85) * height])
    kind = rng.random()
    if kind < 0.35:
        size = (float(width * rng.uniform(0.15, 0.7)), float(height * rng.uniform(0.15, 0.7)))
        corners = cv2.boxPoints((centre.tolist(), size, float(rng.normal(0, 12))))
        cv2.fillPoly(alpha, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind < 0.6:
        axes = (int(width * rng.uniform(0.08, 0.4)) + 1, int(height * rng.uniform(0.08, 0.4)) + 1)
        cv2.ellipse(alpha, centre.astype(int).tolist(), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    else:
        angle = rng.normal(0, 0.2) + (0 if rng.random() < 0.5 else np.pi / 2)
        ys, xs = np.mgrid[0:height, 0:width]
        along = np.cos(angle) * (xs - centre[0]) + np.sin(angle) * (ys - centre[1])
        alpha[along > 0] = 255
    return np.asarray(alpha / 255, np.float32)


def _plain(rng: np.random.Generator, patch: Pixels) -> Pixels:
    """Paint a cut-out in one colour with its own shading."""
    grey = patch[..., :3].mean(2, keepdims=True)
    colour = rng.uniform(0.2, 1.6, 3)
    tinted = np.minimum(grey * colour, patch[..., 3:])
    return np.concatenate([tinted, patch[..., 3:]], 2).astype(np.uint8)


def _add_strap(rng: np.random.Generator, patch: Pixels) -> Pixels:
    """Add a thin loop to a cut-out, like a strap, a cable or a handle."""
    height, width = patch.shape[:2]
    margin = int(0.3 * max(height, width))
    wide = np.pad(patch, ((margin, 0), (margin, margin), (0, 0)))
    ends = rng.choice(np.argwhere(patch[..., 3] > 127), 2) + margin
    steps = np.linspace(0, 1, 24)[:, None]
    rise = np.sin(np.pi * steps) * np.array([margin * rng.uniform(0.5, 1.2), 0])
    points = (ends[0] + (ends[1] - ends[0]) * steps - rise)[:, ::-1].astype(np.int32)
    line = np.zeros(wide.shape[:2], np.uint8)
    thickness = max(1, int(max(height, width) * rng.uniform(0.01, 0.05)))
    cv2.polylines(line, [points], False, 255, thickness, cv2.LINE_AA)
    colour = rng.uniform(0, 255, 3) * rng.uniform(0.2, 1)
    behind = line[..., None] / 255 * (1 - wide[..., 3:] / 255)
    strap = np.concatenate([colour, [255.0]])
    return np.asarray(np.clip(wide + behind * strap, 0, 255), np.uint8)
