"""Compose photos with known answers from a catalogue's own pictures.

A product is cut out of its picture and pasted, in another light and perspective, on a painted background,
alone or with others. No further data are needed: no photographs of rooms, no other pictures of the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.contracts.base import Box
from worker.scenes.clutter import paint_background
from worker.scenes.composer import Composer, ComposerConfig, Scene
from worker.scenes.cutouts import Cutout
from worker.scenes.segmentation import segment_product
from worker.scenes.wallpaper import paint_wallpaper
from worker.vision import Detector, Image
from worker.vision.crops import resize

#: Longer side of a photo and of a cut-out.
PHOTO_PX, CUTOUT_PX = 512, 400
#: Numbers of products in one photo, drawn with equal probability.
_PRODUCT_COUNTS = (1, 1, 1, 2, 3)
#: Number of painted backgrounds.
_BACKGROUNDS = 24
#: Maximum shift of a product's corner as a share of its sides, which simulates another viewpoint.
_MAX_SHIFT = 0.14
_CONFIG = ComposerConfig(
    size_px=PHOTO_PX, max_products=4, scale=(0.25, 0.95), empty=0.0, catalogue=0.0, cropped=0.1
)

Rgba = NDArray[np.uint8]


@dataclass(frozen=True)
class CataloguePicture:
    """A picture of a product.

    Attributes:
        image_id: None where the product has no other picture.
        image: ``(H, W, 3) uint8``.
    """

    product_id: str
    image_id: str | None
    image: Image


@dataclass(frozen=True)
class Photo:
    """A composed photo.

    Attributes:
        image: ``(H, W, 3) uint8``.
        boxes: of its products, as fractions.
        shows: the source pictures, in the order of the boxes.
    """

    image: Image
    boxes: tuple[Box, ...]
    shows: tuple[CataloguePicture, ...]


class Studio:
    """Composes photos; the same seed and pictures give the same photos."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._backgrounds = {Path(f"ground-{n}"): _paint(seed, n) for n in range(_BACKGROUNDS)}

    def photos(self, pictures: Sequence[CataloguePicture], detector: Detector, batch: int) -> Iterator[Photo]:
        """Yield photos that show each picture once; pictures that cannot be cut out are left out.

        Args:
            pictures: all in memory, so some dozens at a time.
            detector: finds products whose background is not plain.
            batch: number of the call, which varies the photos.
        """
        rng = np.random.default_rng([self._seed, batch])
        known = {f"{n}": picture for n, picture in enumerate(pictures)}
        views = {
            Cutout(name, Path(f"cutout-{name}")): view
            for name, picture in known.items()
            if (view := _cut_view(rng, picture.image, detector)) is not None
        }
        if not views:
            return
        composer = Composer(list(views), list(self._backgrounds), _CONFIG)
        composer.cache_pictures(
            {**{cutout.path: view for cutout, view in views.items()}, **self._backgrounds}
        )
        waiting = list(views)
        while waiting:
            together = [waiting.pop() for _ in range(min(int(rng.choice(_PRODUCT_COUNTS)), len(waiting)))]
            scene = composer.compose([self._seed, batch, len(waiting)], together)
            yield _to_photo(scene, known)


def _to_photo(scene: Scene, known: dict[str, CataloguePicture]) -> Photo:
    height, width = scene.image.shape[:2]
    boxes = scene.boxes / np.array([width, height, width, height], np.float32)
    return Photo(
        scene.image,
        tuple((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in boxes),
        tuple(known[name] for name in scene.product_ids),
    )


def _cut_view(rng: np.random.Generator, image: Image, detector: Detector) -> Rgba | None:
    """Cut out the product and distort its perspective.

    Returns:
        ``(h, w, 4) uint8``, colour premultiplied by alpha; None where no product is found.
    """
    scale = min(1.0, CUTOUT_PX / max(image.shape[:2]))
    if scale < 1:
        image = resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    alpha = segment_product(image, detector)
    if alpha is None:
        return None
    ys, xs = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    rows, columns = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    opaque = alpha[rows, columns, np.newaxis]
    colour = (image[rows, columns] * (opaque / np.float32(255))).astype(np.uint8)
    return _distort(rng, np.concatenate([colour, opaque], axis=2))


def _distort(rng: np.random.Generator, rgba: Rgba) -> Rgba:
    height, width = rgba.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    moved = corners + rng.uniform(0, _MAX_SHIFT, (4, 2)) * (width, height) * inwards
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return np.asarray(cv2.warpPerspective(rgba, matrix, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def _paint(seed: int, number: int) -> Image:
    """Paint a background, because shops have no photographs of rooms."""
    rng = np.random.default_rng([seed, 23, number])
    painted = paint_wallpaper(rng, PHOTO_PX, PHOTO_PX)
    return painted if number % 2 else paint_background(rng, PHOTO_PX, PHOTO_PX, lambda _: painted)
