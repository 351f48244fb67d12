"""Read photographs with masks of their main objects: real light, shadows and floors.

A data pack may have `masks/NAME.png` for `backgrounds/NAME.jpg`: 0 for background, 1, 2, ... for each object.
`training.label_backgrounds` writes them with a teacher model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Owner = NDArray[np.int16]

#: Maximum longer side in memory.
PHOTO_PX = 640
#: Minimum share of an object that a crop must contain if it contains any of it.
MIN_INSIDE = 0.45
#: Maximum number of attempts to find a crop.
MAX_TRIES = 8


@dataclass(frozen=True)
class LabelledPhoto:
    """A photograph and the mask of its objects."""

    path: Path
    mask: Path

    @property
    def product_id(self) -> str:
        """Return a product id for its objects, which no real product has."""
        return f"photo-{self.path.stem}"


def list_photos(data: Path, backgrounds: Sequence[Path]) -> list[LabelledPhoto]:
    """List the backgrounds that have a mask."""
    masks = {path.stem: path for path in (data / "masks").glob("*.png")}
    return [LabelledPhoto(path, masks[path.stem]) for path in backgrounds if path.stem in masks]


def read_labelled(photo: LabelledPhoto) -> tuple[Pixels, Owner]:
    """Read the picture (H, W, 3) uint8 RGB and the number of the object at each pixel (H, W) int16."""
    picture = Image.open(photo.path).convert("RGB")
    picture.thumbnail((PHOTO_PX, PHOTO_PX))
    mask = Image.open(photo.mask).resize(picture.size, Image.Resampling.NEAREST)
    return np.asarray(picture), np.asarray(mask).astype(np.int16)


def crop_labelled(
    rng: np.random.Generator, picture: Pixels, owner: Owner, height: int, width: int
) -> tuple[Pixels, Owner] | None:
    """Cut a random part that contains most of each of its objects, mirrored half of the time.

    Returns:
        Picture (height, width, 3) and owner (height, width); None where no such part was found.
    """
    full_h, full_w = owner.shape
    areas = np.bincount(owner.ravel(), minlength=2)
    for _ in range(MAX_TRIES):
        fit = min(full_h / height, full_w / width) * rng.uniform(0.45, 1.0)
        h, w = max(8, int(height * fit)), max(8, int(width * fit))
        top, left = int(rng.integers(0, full_h - h + 1)), int(rng.integers(0, full_w - w + 1))
        part = owner[top : top + h, left : left + w]
        inside = np.bincount(part.ravel(), minlength=len(areas))
        visible = [n for n in range(1, len(areas)) if inside[n]]
        if not visible or any(inside[n] < MIN_INSIDE * areas[n] for n in visible):
            continue
        pixels = picture[top : top + h, left : left + w]
        if rng.random() < 0.5:
            pixels, part = pixels[:, ::-1], part[:, ::-1]
        method = cv2.INTER_AREA if fit > 1 else cv2.INTER_LINEAR
        shape = (width, height)
        scaled = cv2.resize(np.ascontiguousarray(pixels), shape, interpolation=method)
        numbers = cv2.resize(np.ascontiguousarray(part), shape, interpolation=cv2.INTER_NEAREST)
        return np.array(scaled, np.uint8), np.array(numbers, np.int16)
    return None
