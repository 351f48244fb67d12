"""Evaluate a detector: recall, false objects, box and mask overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from worker.scenes.composer import Composer
from worker.training.scenes import letterbox

CONFIDENCE = 0.25
NMS_IOU = 0.6

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """Detections of one picture: boxes (N, 4) xyxy pixels, scores (N,), masks (N, H, W) bool."""

    boxes: Boxes
    scores: NDArray[np.float32]
    masks: NDArray[np.bool_]


@dataclass(frozen=True)
class Quality:
    """Quality of a detector; shares are 0 to 1. `mask_iou` is NaN where the truth has no masks."""

    pictures: int
    objects: int
    recall_50: float
    recall_75: float
    mean_iou: float
    false_per_picture: float
    mask_iou: float

    def __str__(self) -> str:
        return (
            f"recall@.5 {self.recall_50:.3f} @.75 {self.recall_75:.3f} "
            f"IoU {self.mean_iou:.3f} false/picture {self.false_per_picture:.2f} "
            f"mask IoU {self.mask_iou:.3f} ({self.objects} objects)"
        )


def find(model: Any, image: NDArray[np.uint8], size: int = 320, confidence: float = CONFIDENCE) -> Found:
    """Run the detector on a picture (H, W, 3) uint8 RGB; return boxes and masks in its pixels."""
    from ultralytics.utils.nms import non_max_suppression

    height, width = image.shape[:2]
    square, scale, left, top = letterbox(image, size)
    x = torch.from_numpy(square).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        output, raw = model(x)
        rows = non_max_suppression(
            output[0] if isinstance(output, tuple) else output, confidence, NMS_IOU, nc=1
        )[0]
        if not len(rows):
            empty = np.zeros((0, height, width), np.bool_)
            return Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), empty)
        proto = (raw["proto"] if isinstance(raw, dict) else output[1])[0]
        logits = (rows[:, 6:] @ proto.flatten(1)).view(-1, *proto.shape[1:])
        masks = functional.interpolate(logits[None], (size, size), mode="bilinear", align_corners=False)[0]
        h, w = round(height * scale), round(width * scale)
        masks = masks[None, :, top : top + h, left : left + w]
        masks = functional.interpolate(masks, (height, width), mode="bilinear", align_corners=False)[0] > 0
    offset = np.array([left, top, left, top], np.float32)
    boxes = (rows[:, :4].numpy() - offset) / scale
    boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    inside = masks.numpy()
    for mask, box in zip(inside, boxes, strict=True):
        x0, y0, x1, y1 = int(box[0]), int(box[1]), int(np.ceil(box[2])), int(np.ceil(box[3]))
        part = mask[y0:y1, x0:x1].copy()
        mask[:] = False
        mask[y0:y1, x0:x1] = part
    return Found(boxes, rows[:, 4].numpy(), inside)


def overlap(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """Return the intersection over union of all pairs: (N, 4) and (M, 4) xyxy to (N, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), 2)
    areas = [np.prod(b[:, 2:] - b[:, :2], 1) for b in (first, second)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9), np.float32)


def match(truth: Boxes, found: Boxes, threshold: float) -> list[tuple[int, int]]:
    """Match boxes greedily: pairs (truth, found), each used once, the highest IoU first."""
    table = overlap(truth, found)
    pairs = []
    while table.size and table.max() >= threshold:
        i, j = np.unravel_index(int(table.argmax()), table.shape)
        pairs.append((int(i), int(j)))
        table[i], table[:, j] = -1, -1
    return pairs


def measure(results: Iterable[tuple[Boxes, NDArray[np.bool_] | None, Found]]) -> Quality:
    """Measure the quality over pictures of (true boxes, true masks or None, found)."""
    pictures = objects = hits50 = hits75 = false = 0
    ious: list[float] = []
    mask_ious: list[float] = []
    for truth, masks, found in results:
        pictures += 1
        objects += len(truth)
        pairs = match(truth, found.boxes, 0.5)
        table = overlap(truth, found.boxes)
        hits50 += len(pairs)
        hits75 += sum(table[i, j] >= 0.75 for i, j in pairs)
        false += len(found.boxes) - len(pairs)
        ious += [float(table[i].max()) if table.shape[1] else 0.0 for i in range(len(truth))]
        if masks is not None:
            for i, j in pairs:
                both = (masks[i] & found.masks[j]).sum()
                mask_ious.append(float(both / max(1, (masks[i] | found.masks[j]).sum())))
    count = max(1, objects)
    return Quality(
        pictures,
        objects,
        hits50 / count,
        hits75 / count,
        float(np.mean(ious or [0])),
        false / max(1, pictures),
        float(np.mean(mask_ious or [np.nan])),
    )


def best_threshold(model: Any, composer: Composer, count: int, seed: int, max_false: float) -> float:
    """Return the lowest confidence with at most ``max_false`` false objects per picture, else 0.9."""
    model.eval()
    scenes = [composer.compose((seed, index)) for index in range(count)]
    found = [find(model, scene.image, composer.config.size_px, 0.05) for scene in scenes]
    for threshold in np.arange(0.05, 0.9, 0.01):
        filtered = [_filter(each, float(threshold)) for each in found]
        quality = measure((s.boxes, None, f) for s, f in zip(scenes, filtered, strict=True))
        if quality.false_per_picture <= max_false:
            return round(float(threshold), 2)
    return 0.9


def _filter(found: Found, threshold: float) -> Found:
    chosen = found.scores >= threshold
    return Found(found.boxes[chosen], found.scores[chosen], found.masks[chosen])


def measure_composed(model: Any, composer: Composer, count: int, seed: int) -> Quality:
    """Measure the quality on composed pictures, which have masks."""

    def results() -> Iterator[tuple[Boxes, NDArray[np.bool_], Found]]:
        for index in range(count):
            scene = composer.compose((seed, index))
            yield scene.boxes, scene.masks, find(model, scene.image, composer.config.size_px)

    model.eval()
    return measure(results())
