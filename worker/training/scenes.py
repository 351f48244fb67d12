"""Convert composed scenes to batches for the detector's loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from worker.scenes.composer import Composer, Scene

#: The letterbox colour of every YOLO.
GREY = 114
#: Prototypes have a quarter of the input's resolution.
MASK_STRIDE = 4

Batch = dict[str, Tensor]


def letterbox(image: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], float, int, int]:
    """Fit a picture into a grey square, centred.

    Returns:
        The (size, size, 3) uint8 square, the scale, and the left and top offsets in pixels: a point p of the
        picture is at p * scale + offset.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    w, h = round(width * scale), round(height * scale)
    if (w, h) != (width, height):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (w, h), interpolation=method), np.uint8)
    left, top = (size - w) // 2, (size - h) // 2
    square = np.full((size, size, 3), GREY, np.uint8)
    square[top : top + h, left : left + w] = image
    return square, scale, left, top


def to_batch(scenes: list[Scene], size: int) -> Batch:
    """Convert scenes to the batch of ultralytics' segmentation loss.

    Returns:
        `img` (B, 3, S, S) uint8 RGB; `bboxes` (N, 4) float32 cxcywh as fractions; `cls` (N, 1); `batch_idx`
        (N,); `masks` (B, S/4, S/4) uint8, 0 for background and i + 1 for the picture's object i.
    """
    images, boxes, owners, masks = [], [], [], []
    for index, scene in enumerate(scenes):
        square, _, left, top = letterbox(scene.image, size)
        images.append(square)
        x0, y0, x1, y1 = (scene.boxes + np.array([left, top, left, top], np.float32)).T / size
        boxes.append(np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1))
        owners.append(np.full(len(scene.boxes), index))
        labels = np.zeros((size, size), np.uint8)
        height, width = scene.image.shape[:2]
        for number, mask in enumerate(scene.masks, 1):
            labels[top : top + height, left : left + width][mask] = number
        masks.append(labels[MASK_STRIDE // 2 :: MASK_STRIDE, MASK_STRIDE // 2 :: MASK_STRIDE])
    count = sum(map(len, boxes))
    return {
        "img": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        "bboxes": torch.from_numpy(np.concatenate(boxes)).float(),
        "cls": torch.zeros(count, 1),
        "batch_idx": torch.from_numpy(np.concatenate(owners)).float(),
        "masks": torch.from_numpy(np.stack(masks)),
    }


class SceneBatches(IterableDataset[Batch]):
    """An endless stream of composed batches; batch k depends only on the seed and k.

    Several composers alternate, so that a detector is trained at several sizes.
    """

    def __init__(self, composers: Sequence[Composer], batch: int, seed: int, first: int = 0) -> None:
        self._composers = composers
        self._batch = batch
        self._seed = seed
        self._first = first

    def __iter__(self) -> Iterator[Batch]:
        info: Any = torch.utils.data.get_worker_info()
        step, offset = (info.num_workers, info.id) if info else (1, 0)
        cv2.setNumThreads(1)
        number = self._first + offset
        while True:
            seeds = ((self._seed, number * self._batch + i) for i in range(self._batch))
            composer = self._composers[number % len(self._composers)]
            yield to_batch([composer.compose(s) for s in seeds], composer.config.size_px)
            number += step
