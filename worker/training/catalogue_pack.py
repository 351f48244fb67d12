"""Write a catalogue's product photos, cut out, as a data pack for training."""

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
    """A picture of a product; ``read`` decodes it."""

    product_id: str
    read: Callable[[], Image]


def write_pack(
    photos: Iterable[Photo], total: int, detector: Detector, folder: Path, progress: Progress
) -> int:
    """Write cut-outs, painted backgrounds and the list of products; return the number of cut-outs.

    Files of an earlier, killed run are reused. Products are numbered, so that no product id becomes a path.
    Each picture counts as a view of its product.

    Args:
        photos: in any order.
        total: their number, for the progress.
        detector: finds products whose background is not plain.
        progress: called with the stage, the number of items done, and their total.
    """
    (folder / "cutouts").mkdir(parents=True, exist_ok=True)
    (folder / "products").mkdir(exist_ok=True)
    numbers: dict[str, str] = {}
    views: dict[str, int] = defaultdict(int)
    written = 0
    for done, photo in enumerate(photos, 1):
        name = numbers.setdefault(photo.product_id, f"p{len(numbers):07}")
        path = folder / "cutouts" / f"{name}-v{views[name]}.webp"
        views[name] += 1
        if path.exists() or _write_cutout(photo, detector, path):
            written += 1
        progress("cut-outs", done, total)
    rows = [{"product_id": n, "split": "train", "shop_id": p} for p, n in numbers.items()]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "products" / "products.jsonl").write_text(text, encoding="utf-8")
    _write_backgrounds(folder / "backgrounds")
    return written


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
    """Paint backgrounds, because shops have no photographs without products."""
    folder.mkdir(exist_ok=True)
    for number in range(BACKGROUNDS):
        path = folder / f"{number:03}.jpg"
        if path.exists():
            continue
        rng = np.random.default_rng([17, number])
        paint = paint_wallpaper(rng, 480, 640)
        if number % 2:
            # A painted picture replaces the photograph that some backgrounds take parts of.
            paint = paint_background(rng, 480, 640, lambda r, behind=paint: behind)  # type: ignore[misc]
        Pictures.fromarray(paint).save(path, quality=90)
