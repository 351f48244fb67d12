"""Compute crops: fit pictures into squares, convert boxes, apply masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.contracts.base import Box
from worker.vision import Detection, Image
from worker.vision.models import CropPlan, Rgb

#: The grey that every YOLO was trained with.
LETTERBOX_GREY: Rgb = (114.0, 114.0, 114.0)

PixelBox = tuple[int, int, int, int]
#: Minimum overlap of a drawn box and a detection that are of the same object.
_MIN_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Placement:
    """Position of a picture in its square: pixel p of the picture is at p * scale + offset."""

    scale: float
    left: int
    top: int


def resize(image: Image, width: int, height: int) -> Image:
    """Resize an image: averaged when it shrinks, interpolated when it grows."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = width * height < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def fit_into_square(image: Image, side_px: int, fill: Rgb) -> tuple[Image, Placement]:
    """Scale an image so that its longer side is ``side_px``, centred on ``fill``.

    Returns:
        ``(side_px, side_px, 3) uint8``, and the position of the image in it.
    """
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (side_px - w) // 2, (side_px - h) // 2
    square = np.empty((side_px, side_px, 3), np.uint8)
    square[:] = np.asarray(fill, np.uint8)
    square[top : top + h, left : left + w] = resize(image, w, h)
    return square, Placement(scale, left, top)


def to_pixels(box: Box, width: int, height: int, margin: float = 0.0) -> PixelBox:
    """Convert a box to whole pixels within an image, at least one pixel wide and high.

    Args:
        box: x0, y0, x1, y1 as fractions.
        margin: added on each side, as a share of the box's size.
    """
    x0, y0, x1, y1 = box
    dx, dy = (x1 - x0) * margin, (y1 - y0) * margin
    left = min(max(int((x0 - dx) * width), 0), width - 1)
    top = min(max(int((y0 - dy) * height), 0), height - 1)
    right = min(max(int(np.ceil((x1 + dx) * width)), left + 1), width)
    bottom = min(max(int(np.ceil((y1 + dy) * height)), top + 1), height)
    return left, top, right, bottom


def cut_out(
    image: Image, detection: Detection | None, side_px: int, plan: CropPlan, shape: Literal["pad", "stretch"]
) -> Image:
    """Cut out an object, or the whole image where there is none.

    Args:
        image: ``(H, W, 3) uint8``.
        detection: the object; its mask is applied if it has one and the plan's mode is ``mask``.
        side_px: side of the result.
        plan: margin, background and fill.
        shape: ``pad`` centres the crop on the fill, ``stretch`` distorts it to the square.

    Returns:
        ``(side_px, side_px, 3) uint8``. With ``plan.mode`` ``both`` the background is kept.
    """
    square, outline = cut_with_outline(image, detection, side_px, plan, shape)
    return square if outline is None or plan.mode != "mask" else fade(square, outline, plan.fill)


def cut_with_outline(
    image: Image, detection: Detection | None, side_px: int, plan: CropPlan, shape: Literal["pad", "stretch"]
) -> tuple[Image, NDArray[np.float32] | None]:
    """Cut out an object with its background, and its outline in the crop; arguments as ``cut_out``.

    Returns:
        The crop ``(side_px, side_px, 3) uint8``, and the outline ``(side_px, side_px) float32`` in 0..1, None
        where the object has no mask.
    """
    height, width = image.shape[:2]
    box = (0.0, 0.0, 1.0, 1.0) if detection is None else detection.box
    margin = 0.0 if detection is None else plan.margin
    left, top, right, bottom = to_pixels(box, width, height, margin)
    part = image[top:bottom, left:right]
    if shape == "stretch":
        square = resize(part, side_px, side_px)
        scale = np.array([side_px / (right - left), side_px / (bottom - top)])
        offset = np.zeros(2)
    else:
        square, placed = fit_into_square(part, side_px, plan.fill)
        scale, offset = np.array([placed.scale] * 2), np.array([placed.left, placed.top])
    if detection is None or detection.mask is None:
        return square, None
    x0, y0, x1, y1 = to_pixels(box, width, height)
    corners = np.array([[x0 - left, y0 - top], [x1 - left, y1 - top]]) * scale + offset
    first = np.minimum(np.rint(corners[0]).astype(int), side_px - 1)
    last = np.clip(np.rint(corners[1]).astype(int), first + 1, side_px)
    return square, _place_mask(square, detection.mask, (*first, *last))


def fade(square: Image, outline: NDArray[np.float32], fill: Rgb) -> Image:
    """Blend everything outside an outline, ``(H, W)`` in 0..1, into ``fill``."""
    background = np.asarray(fill, np.float32)
    return np.asarray(np.rint((square - background) * outline[..., None] + background), np.uint8)


def _place_mask(square: Image, mask: NDArray[np.float32], box: PixelBox) -> NDArray[np.float32]:
    """Return the mask scaled to its box in the square, 0 outside the box."""
    x0, y0, x1, y1 = box
    shrinks = mask.shape[1] > x1 - x0
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    outline = np.zeros(square.shape[:2], np.float32)
    outline[y0:y1, x0:x1] = cv2.resize(mask, (x1 - x0, y1 - y0), interpolation=method)
    return outline


def overlap(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union of all pairs: ``(N, 4)`` and ``(M, 4)`` xyxy to ``(N, M)``."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - common
    return np.asarray(common / np.maximum(union, 1e-9), np.float32)


def to_boxes(detections: list[Detection]) -> NDArray[np.float32]:
    """Return the boxes as ``(N, 4) float32`` fractions; N may be 0."""
    return np.asarray([d.box for d in detections], np.float32).reshape(-1, 4)


def match(truth: NDArray[np.float32], found: NDArray[np.float32], min_iou: float) -> list[tuple[int, int]]:
    """Match boxes greedily: pairs (true, found), each used once, the highest IoU first."""
    table = overlap(truth, found)
    pairs = []
    while table.size and table.max() >= min_iou:
        i, j = np.unravel_index(int(table.argmax()), table.shape)
        pairs.append((int(i), int(j)))
        table[i], table[:, j] = -1, -1
    return pairs


def transfer_mask(box: Box, detections: list[Detection]) -> Detection:
    """Return a drawn box as a detection, with the mask of the object that it was drawn around.

    The mask is that of the detection with the highest IoU, at least ``_MIN_IOU``, resampled to the drawn box.
    Without such a detection there is no mask.
    """
    drawn = Detection(box, "box", 1.0)
    masked = [d for d in detections if d.mask is not None]
    if not masked:
        return drawn
    ious = overlap(np.asarray([box], np.float32), to_boxes(masked))[0]
    best = masked[int(ious.argmax())]
    if ious.max() < _MIN_IOU or best.mask is None:
        return drawn
    height, width = (max(1, round(n)) for n in _size_in_mask_pixels(box, best))
    # Sample the mask at the drawn box's pixel centres; outside the detection's box is background.
    scale_x = (box[2] - box[0]) / (best.box[2] - best.box[0]) * best.mask.shape[1] / width
    scale_y = (box[3] - box[1]) / (best.box[3] - best.box[1]) * best.mask.shape[0] / height
    shift_x = (box[0] - best.box[0]) / (best.box[2] - best.box[0]) * best.mask.shape[1]
    shift_y = (box[1] - best.box[1]) / (best.box[3] - best.box[1]) * best.mask.shape[0]
    matrix = np.array([[scale_x, 0, shift_x + scale_x / 2 - 0.5], [0, scale_y, shift_y + scale_y / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mask = cv2.warpAffine(best.mask, matrix, (width, height), flags=flags, borderValue=0.0)
    return Detection(box, best.label, best.confidence, np.asarray(mask, np.float32))


def _size_in_mask_pixels(box: Box, detection: Detection) -> tuple[float, float]:
    """Return height and width of a box in pixels of a detection's mask."""
    assert detection.mask is not None
    rows, columns = detection.mask.shape
    x0, y0, x1, y1 = detection.box
    return (box[3] - box[1]) / (y1 - y0) * rows, (box[2] - box[0]) / (x1 - x0) * columns
