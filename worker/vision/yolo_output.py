"""Convert the output of a YOLO network to detections, in plain numpy: a warm start needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.vision import Detection
from worker.vision.crops import Placement, overlap

#: Maximum number of boxes in non-maximum suppression, most confident first.
CANDIDATES = 300
#: A box counts as a part of a larger one, such as a drawer or a wheel, if at least this share of it lies
#: inside and its confidence is below this share of the larger one's. A cup on a table is as confident as the
#: table, so that both stay.
PART_INSIDE, PART_CONFIDENCE = 0.8, 0.8
#: Minimum side of a box as a share of the image; smaller ones are noise.
MIN_SIDE = 0.01

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Format of the output, and thresholds for its detections.

    Attributes:
        labels: name of each class.
        end_to_end: rows are (x0, y0, x1, y1, confidence, class, coefficients...) and already suppressed, as
            YOLO26 returns them; otherwise columns are (centre x, centre y, width, height, class scores...,
            coefficients...).
        confidence: minimum confidence.
        iou: maximum IoU of two boxes of any classes; of those that overlap more, the less confident is
            dropped.
        max_objects: maximum number of detections per image.
    """

    labels: tuple[str, ...]
    end_to_end: bool
    confidence: float
    iou: float
    max_objects: int


@dataclass(frozen=True, slots=True)
class Frame:
    """An image's size and its position in the network's square input; lengths in pixels."""

    width: int
    height: int
    placement: Placement
    side_px: int


def read_output(output: Floats, prototypes: Floats | None, frame: Frame, plan: OutputPlan) -> list[Detection]:
    """Convert the output for one image to detections, the most prominent first.

    Args:
        output: ``(4 + classes + coefficients, anchors)``, or ``(rows, 6 + coefficients)`` end to end.
        prototypes: ``(coefficients, h, w)`` of a segmentation network, or None.
        frame: maps boxes back into the image.
        plan: thresholds and labels.
    """
    boxes, confidences, classes, coefficients = _split_columns(output, plan)
    kept = drop_parts(boxes, confidences, suppress(boxes, confidences, plan.iou))
    found = []
    for index in kept:
        inside = _clip_to_image(boxes[index], frame)
        if inside is None:
            continue
        mask = None
        if prototypes is not None and coefficients.shape[1]:
            mask = assemble_mask(coefficients[index], prototypes, inside, frame.side_px)
        label = plan.labels[int(classes[index])]
        found.append(Detection(_to_fractions(inside, frame), label, float(confidences[index]), mask))
    return sorted(found, key=prominence, reverse=True)[: plan.max_objects]


def prominence(detection: Detection) -> float:
    """Score how likely an object is the subject of the picture.

    The score is the confidence, times the fourth root of the box's share of the image, times a factor that
    decreases from 1 in the centre to 1/2 in a corner. The root ranks a small certain object ahead of a large
    doubtful one.
    """
    x0, y0, x1, y1 = detection.box
    area = (x1 - x0) * (y1 - y0)
    offset = float(np.hypot(x0 + x1 - 1, y0 + y1 - 1) / np.sqrt(2))
    return float(detection.confidence * area**0.25 * (1 - offset / 2))


def suppress(boxes: Floats, confidences: Floats, iou: float) -> list[int]:
    """Run greedy non-maximum suppression; return indices of the boxes to keep, most confident first.

    Args:
        boxes: ``(N, 4)`` xyxy; N may be 0.
        confidences: ``(N,)``.
        iou: maximum IoU with a more confident box.
    """
    order = np.argsort(-confidences, kind="stable")[:CANDIDATES]
    table = overlap(boxes[order], boxes[order])
    alive = np.ones(len(order), bool)
    for position in range(len(order)):
        if alive[position]:
            alive[position + 1 :] &= table[position, position + 1 :] <= iou
    return [int(index) for index in order[alive]]


def drop_parts(boxes: Floats, confidences: Floats, kept: list[int]) -> list[int]:
    """Drop boxes that are parts of larger, more confident ones; return the other indices in order.

    Args:
        boxes: ``(N, 4)`` xyxy.
        confidences: ``(N,)``.
        kept: indices, most confident first.
    """
    chosen, certainty = boxes[kept], confidences[kept]
    areas = np.maximum(np.prod(chosen[:, 2:] - chosen[:, :2], axis=1), 1e-9)
    low = np.maximum(chosen[:, None, :2], chosen[None, :, :2])
    high = np.minimum(chosen[:, None, 2:], chosen[None, :, 2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=2) / areas[:, None]
    smaller = areas[:, None] < areas[None]
    part = smaller & (inside > PART_INSIDE) & (certainty[:, None] < PART_CONFIDENCE * certainty[None])
    return [index for index, is_part in zip(kept, part.any(axis=1), strict=True) if not is_part]


def assemble_mask(coefficients: Floats, prototypes: Floats, box: Sequence[float], side_px: int) -> Floats:
    """Assemble an object's mask over its box.

    Args:
        coefficients: ``(C,)``.
        prototypes: ``(C, h, w)`` over the whole square input.
        box: xyxy in pixels of the square.
        side_px: side of the square.

    Returns:
        ``(rows, columns) float32`` in 0..1, one value per pixel of the square.
    """
    channels, rows, columns = prototypes.shape
    x0, y0, x1, y1 = box
    width, height = max(1, round(x1 - x0)), max(1, round(y1 - y0))
    step_x, step_y = columns / side_px, rows / side_px
    # Only prototypes under the box, with a border of one for the interpolation.
    left, top = max(0, int(x0 * step_x) - 1), max(0, int(y0 * step_y) - 1)
    right, bottom = min(columns, int(x1 * step_x) + 2), min(rows, int(y1 * step_y) + 2)
    part = prototypes[:, top:bottom, left:right]
    logits = (coefficients @ part.reshape(channels, -1)).reshape(part.shape[1:])
    # Pixel centres of the mask, in units of the prototypes.
    across, down = (x1 - x0) / width * step_x, (y1 - y0) / height * step_y
    matrix = np.array(
        [
            [across, 0, x0 * step_x + across / 2 - 0.5 - left],
            [0, down, y0 * step_y + down / 2 - 0.5 - top],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    logits = np.ascontiguousarray(logits, np.float32)
    fine = cv2.warpAffine(logits, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(1 / (1 + np.exp(-np.clip(fine, -30, 30))), np.float32)


def _split_columns(output: Floats, plan: OutputPlan) -> tuple[Floats, Floats, NDArray[np.intp], Floats]:
    """Return boxes (N, 4) xyxy in the square, confidences (N,), classes (N,), coefficients (N, C)."""
    if plan.end_to_end:
        rows = output[output[:, 4] >= plan.confidence]
        return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.intp), rows[:, 6:]
    last = 4 + len(plan.labels)
    scores = output[4:last]
    chosen = scores.max(axis=0) >= plan.confidence
    scores, rows = scores[:, chosen], output[:, chosen].T
    half = rows[:, 2:4] / 2
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
    classes = scores.argmax(axis=0)
    confidences = scores.max(axis=0) if scores.shape[1] else np.zeros(0, np.float32)
    return boxes, confidences, classes, rows[:, last:]


def _clip_to_image(box: Floats, frame: Frame) -> tuple[float, float, float, float] | None:
    """Return the part of a box on the image, in pixels of the square; None if it is too small."""
    place = frame.placement
    right = place.left + frame.width * place.scale
    bottom = place.top + frame.height * place.scale
    x0, x1 = np.clip(box[[0, 2]], place.left, right)
    y0, y1 = np.clip(box[[1, 3]], place.top, bottom)
    if x1 - x0 < MIN_SIDE * (right - place.left) or y1 - y0 < MIN_SIDE * (bottom - place.top):
        return None
    return float(x0), float(y0), float(x1), float(y1)


def _to_fractions(box: tuple[float, float, float, float], frame: Frame) -> tuple[float, float, float, float]:
    place = frame.placement
    width, height = frame.width * place.scale, frame.height * place.scale
    x0, x1 = ((x - place.left) / width for x in (box[0], box[2]))
    y0, y1 = ((y - place.top) / height for y in (box[1], box[3]))
    return max(0.0, x0), max(0.0, y0), min(1.0, x1), min(1.0, y1)
