"""A shop's own catalogue as training data: its product photos, cut out, in the form of the data pack."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from worker.scenes.clutter import paint_background
from worker.scenes.segmentation import segment_product
from worker.scenes.wallpaper import paint_wallpaper
from worker.vision import Detector, Image

#: Painted backgrounds in a pack.
BACKGROUNDS = 64
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture of a product; ``read`` decodes it."""

    product_id: str
    read: Callable[[], Image]


def write_pack(
    photos: Iterable[Photo], total: int, detector: Detector, folder: Path, progress: Progress
) -> int:
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
        progress("cut-outs", done, total)
    rows = [{"product_id": n, "split": "train", "shop_id": p} for p, n in numbers.items()]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "products" / "products.jsonl").write_text(text, encoding="utf-8")
    _write_backgrounds(folder / "backgrounds")
    return made


def _write_cutout(photo: Photo, detector: Detector, path: Path) -> bool:
    image = photo.read()
    alpha = segment_product(image, detector)
    if alpha is None:
        return False
    ys, xs = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    rows, columns = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    rgba = np.dstack([image[rows, columns], alpha[rows, columns]])
    fresh = path.with_suffix(".new")
    Pictures.fromarray(rgba).save(fresh, "WEBP", quality=90)
    fresh.replace(path)
    return True


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
