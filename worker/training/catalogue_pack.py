"""A shop's own catalogue as training data: its product photos, cut out, in the form of the data pack."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from worker.scenes.clutter import paint_background
from worker.scenes.wallpaper import paint_wallpaper
from worker.vision import Detection, Detector, Image
from worker.vision.crops import resize, to_pixels

CUTOUT_PX = 480
BACKGROUNDS = 64
#: A photo whose border differs from its own mean by no more than this was taken on a plain ground.
PLAIN = 12
#: Less of the picture than this is no product; more is no cut-out.
LEAST_SHARE, MOST_SHARE = 0.01, 0.97

Alpha = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture of a product; ``read`` decodes it."""

    product_id: str
    read: Callable[[], Image]


def write_pack(photos: Iterable[Photo], total: int, detector: Detector, folder: Path, told: Progress) -> int:
    """Write cut-outs of the photos, painted backgrounds, and the list of products; return how many cut-outs.

    What is there from an earlier, killed run is kept. Products are numbered, so that no name of a shop's
    becomes a path. Each picture counts as a view of its product.

    Args:
        photos: those of one product need not follow one another.
        total: how many there are, for the progress.
        detector: finds the product where the ground is not plain.
    """
    (folder / "cutouts").mkdir(parents=True, exist_ok=True)
    (folder / "products").mkdir(exist_ok=True)
    numbers: dict[str, str] = {}
    views: dict[str, int] = defaultdict(int)
    made = 0
    for done, photo in enumerate(photos, 1):
        name = numbers.setdefault(photo.product_id, f"p{len(numbers):07}")
        path = folder / "cutouts" / f"{name}-v{views[name]}.webp"
        views[name] += 1
        if path.exists() or _write_cutout(photo, detector, path):
            made += 1
        told("cut-outs", done, total)
    rows = [{"product_id": n, "split": "train", "shop_id": p} for p, n in numbers.items()]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "products" / "products.jsonl").write_text(text, encoding="utf-8")
    _write_backgrounds(folder / "backgrounds")
    return made


def _write_cutout(photo: Photo, detector: Detector, path: Path) -> bool:
    image = photo.read()
    alpha = cut(image, detector)
    if alpha is None:
        return False
    ys, xs = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    rows, columns = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    rgba = np.dstack([image[rows, columns], alpha[rows, columns]])
    fresh = path.with_suffix(".new")
    Pictures.fromarray(rgba).save(fresh, "WEBP", quality=90)
    fresh.replace(path)
    return True


def cut(image: Image, detector: Detector) -> Alpha | None:
    """Return how opaque each pixel of the product is, ``(h, w) uint8`` at most 480 px; None if none is seen.

    On a plain ground that is all that the ground does not reach; elsewhere the most prominent object's mask.
    """
    scale = min(1.0, CUTOUT_PX / max(image.shape[:2]))
    if scale < 1:
        width, height = (max(1, round(n * scale)) for n in (image.shape[1], image.shape[0]))
        return _enlarged(cut(resize(image, width, height), detector), image)
    alpha = _off_the_ground(image)
    if alpha is None:
        alpha = _mask(image, detector)
    if alpha is None or not LEAST_SHARE < float((alpha > 127).mean()) < MOST_SHARE:
        return None
    return alpha


def _enlarged(alpha: Alpha | None, image: Image) -> Alpha | None:
    if alpha is None:
        return None
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _off_the_ground(image: Image) -> Alpha | None:
    """What a plain ground, flooded from the border, does not reach; None where the border is not plain."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(np.int16)
    ground = np.median(border, axis=0)
    plain = np.abs(border - ground).max(axis=1) <= PLAIN
    if plain.mean() < 0.9:
        return None
    like = (np.abs(image.astype(np.int16) - ground).max(axis=2) <= PLAIN).astype(np.uint8)
    _, parts = cv2.connectedComponents(np.pad(like, 1, constant_values=1))
    product = (parts[1:-1, 1:-1] != parts[0, 0]).astype(np.uint8)
    # One pixel in, where ground and product mix.
    product = np.asarray(cv2.erode(product, np.ones((3, 3), np.uint8)), np.uint8)
    return np.asarray(cv2.GaussianBlur(product * 255, (3, 3), 0), np.uint8)


def _mask(image: Image, detector: Detector) -> Alpha | None:
    detections: list[Detection] = detector.detect([image])[0]
    if not detections or detections[0].mask is None:
        return None
    alpha = np.zeros(image.shape[:2], np.uint8)
    x0, y0, x1, y1 = to_pixels(detections[0].box, image.shape[1], image.shape[0])
    inside = cv2.resize(detections[0].mask, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    alpha[y0:y1, x0:x1] = np.clip((inside - 0.3) / 0.4, 0, 1) * 255
    return alpha


def _write_backgrounds(folder: Path) -> None:
    """Painted ones: a shop has no photographs without products."""
    folder.mkdir(exist_ok=True)
    for number in range(BACKGROUNDS):
        path = folder / f"{number:03}.jpg"
        if path.exists():
            continue
        rng = np.random.default_rng([17, number])
        paint = paint_wallpaper(rng, 480, 640)
        if number % 2:
            # Another painted picture stands for the photographs that some of these show parts of.
            paint = paint_background(rng, 480, 640, lambda r, behind=paint: behind)  # type: ignore[misc]
        Pictures.fromarray(paint).save(path, quality=90)
