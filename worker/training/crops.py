"""Cut crops for training as the worker does, with the errors of a real detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.vision import Detection
from worker.vision.crops import cut_out
from worker.vision.models import CropPlan

Pixels = NDArray[np.uint8]
Soft = NDArray[np.float32]

DETECTOR_PX: Final = 320
MASK_STRIDE: Final = 4


@dataclass(frozen=True)
class CropSpec:
    """How an embedder's crops are cut, as in the registry."""

    mode: Literal["box", "mask"] = "mask"
    fill: tuple[int, int, int] = (255, 255, 255)
    margin: float = 0.05
    resize: Literal["pad", "stretch"] = "pad"
    input_px: int = 224


def crop_object(image: Pixels, box: NDArray[np.float32], mask: Soft | None, spec: CropSpec) -> Pixels:
    """Cut out an object as the worker does.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) xyxy in pixels, clipped to the picture.
        mask: (H, W) in 0..1, or None to keep the background in any mode.

    Returns:
        (input_px, input_px, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    frame = np.array([width, height, width, height], np.float32)
    x0, y0, x1, y1 = (float(v) for v in np.clip(box / frame, 0, 1))
    inside = None
    if mask is not None:
        left, top = int(x0 * width), int(y0 * height)
        inside = mask[
            top : max(top + 1, int(np.ceil(y1 * height))), left : max(left + 1, int(np.ceil(x1 * width)))
        ]
    plan = CropPlan(mode=spec.mode, fill=spec.fill, margin=spec.margin)
    detection = Detection((x0, y0, x1, y1), "product", 1.0, inside)
    return cut_out(image, detection, spec.input_px, plan, spec.resize)


def jitter_box(
    rng: np.random.Generator, box: NDArray[np.float32], share: float = 0.06
) -> NDArray[np.float32]:
    """Shift each side by a normal error whose deviation is `share` of the box's side."""
    w, h = box[2] - box[0], box[3] - box[1]
    moved = box + rng.normal(0, share, 4) * np.array([w, h, w, h])
    if moved[2] - moved[0] < 4 or moved[3] - moved[1] < 4:
        return box
    return np.asarray(moved, np.float32)


def imperfect_mask(rng: np.random.Generator, mask: NDArray[np.bool_]) -> Soft:
    """Degrade a true mask as a detector would: coarse, soft, too wide or narrow, with parts missing.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) float32 in 0..1.
    """
    height, width = mask.shape
    # Prototypes have a quarter of the detector's input resolution, which loses fine parts.
    scale = DETECTOR_PX / MASK_STRIDE / max(height, width)
    small_w, small_h = max(8, round(width * scale)), max(8, round(height * scale))
    coarse = cv2.resize(mask.astype(np.float32), (small_w, small_h), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), float(rng.uniform(0.5, 1.6)))
    field = rng.standard_normal((max(2, small_h // 8), max(2, small_w // 8))).astype(np.float32)
    noise = cv2.resize(field, (small_w, small_h), interpolation=cv2.INTER_CUBIC)
    level = 0.5 + float(rng.normal(0, 0.12))
    logits = (coarse - level) * rng.uniform(8, 20) + noise * rng.uniform(0, 1.6)
    if rng.random() < 0.15:
        # A part taken for background, or background taken for the object.
        centre = (int(rng.integers(small_w)), int(rng.integers(small_h)))
        axes = (int(rng.integers(2, small_w // 4 + 3)), int(rng.integers(2, small_h // 4 + 3)))
        bite = np.zeros_like(coarse)
        cv2.ellipse(bite, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        logits += bite * (-8 if rng.random() < 0.6 else 8)
    wide = cv2.resize(logits.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / (1 + np.exp(-np.clip(wide, -30, 30))), np.float32)


def on_white(rgba: Pixels, spec: CropSpec) -> Pixels:
    """Paste a cut-out (h, w, 4), straight alpha, on white; return (input_px, input_px, 3) uint8."""
    alpha = np.asarray(rgba[..., 3:], np.float32) / np.float32(255)
    flat = (rgba[..., :3] * alpha + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    return crop_object(flat, _box_of(alpha[..., 0] > 0.1), np.asarray(alpha[..., 0], np.float32), spec)


#: Levels below white that still count as white.
_WHITE_TOLERANCE = 10


def box_on_white(image: Pixels) -> NDArray[np.float32]:
    """Return the box (4,) xyxy of all that is not white; the whole frame if everything is white."""
    dark = np.asarray((image < 255 - _WHITE_TOLERANCE).any(2), np.bool_)
    if not dark.any():
        return np.array([0, 0, image.shape[1], image.shape[0]], np.float32)
    return _box_of(dark)


def _box_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the tight box (4,) xyxy of a mask (H, W) that is not empty."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)
