"""Golden queries as further photos of their products: most to learn from, a fixed share to judge by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.errors import InvalidInput
from worker.scenes.cutouts import is_held_out
from worker.training.crop_features import CHUNK, Features, read_or_make
from worker.training.crop_set import Row
from worker.training.crops import CropSpec
from worker.vision import Detector, Image
from worker.vision.crops import Box, cut_out, transfer_mask
from worker.vision.models import CropPlan
from worker.vision.runtimes import Runtime

#: Share of the photos that no step sees, by a hash of each: the same photo is always on the same side.
GOLDEN_HELD_OUT_PERCENT = 25
KIND = "golden"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class GoldenPhoto:
    """An object of a photo, and the product that it is; ``read`` decodes the photo.

    Attributes:
        product_id: as the shop says it.
        box: the object; None where it is the most prominent one.
        digest: SHA-256 of the photo's file.
    """

    product_id: str
    box: Box | None
    digest: str
    read: Callable[[], Image]


@dataclass(frozen=True)
class GoldenSet:
    """Golden queries, and what finds the products in them."""

    photos: Sequence[GoldenPhoto]
    detector: Detector


@dataclass(frozen=True)
class Shares:
    """What becomes of golden queries; their products are named as the data pack names them.

    Attributes:
        used: to learn from.
        held_out: to judge by: a quarter of the photos, and those that show a held-out product.
        left_out: how many are of products that were not cut out for this training.
    """

    used: list[GoldenPhoto]
    held_out: list[GoldenPhoto]
    left_out: int


def split_golden(photos: Sequence[GoldenPhoto], data: Path, train: Features, held: Features) -> Shares:
    """Say which golden queries are learnt from and which judge. All objects of a photo go the same way.

    Raises:
        InvalidInput: there is nothing to learn from.
    """
    lines = (data / "products" / "products.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names = {row.get("shop_id", row["product_id"]): row["product_id"] for row in rows}
    learnt, judging = ({row.product_id for row in part.rows if row.shown_first} for part in (train, held))
    known = [
        GoldenPhoto(names[photo.product_id], photo.box, photo.digest, photo.read)
        for photo in photos
        if names.get(photo.product_id) in learnt | judging
    ]
    kept_back = {
        photo.digest
        for photo in known
        if photo.product_id in judging or is_held_out(photo.digest, GOLDEN_HELD_OUT_PERCENT)
    }
    used = [photo for photo in known if photo.digest not in kept_back]
    if not used:
        raise InvalidInput(
            f"Of {len(photos)} golden queries {len(known)} are of products that could be cut out, and all of "
            "those are held out: give more of them, or train without --golden.",
            "golden",
        )
    held_out = [photo for photo in known if photo.digest in kept_back]
    return Shares(used, held_out, len(photos) - len(known))


def golden_features(
    stage: str,
    photos: Sequence[GoldenPhoto],
    spec: CropSpec,
    detector: Detector,
    trunk: Runtime,
    folder: Path,
    progress: Progress,
) -> Features:
    """Compute, or read from an earlier run, the features of golden queries, each cut out as a search would.

    Args:
        stage: what the progress says.
        folder: of this trunk and these crops' rule alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values, rows = [], []
    for start in range(0, len(photos), CHUNK):
        part = photos[start : start + CHUNK]
        facts = repr([(photo.product_id, photo.box, photo.digest) for photo in part])
        key = hashlib.sha256(f"{detector.version} {facts}".encode()).hexdigest()[:16]
        some, what = read_or_make(folder / f"{key}.npz", _crops(part, spec, detector), trunk)
        values.append(some)
        rows += what
        progress(stage, start + len(part), len(photos))
    return Features(np.concatenate(values) if values else np.zeros((0, 0), np.float32), rows)


def _crops(photos: Sequence[GoldenPhoto], spec: CropSpec, detector: Detector) -> Iterator[tuple[Row, Image]]:
    plan = CropPlan(mode=spec.mode, fill=spec.fill, margin=spec.margin)
    for photo in photos:
        image = photo.read()
        found = detector.detect([image])[0]
        # Where nothing is found, the whole photo is what a search would take.
        seen = next(iter(found), None) if photo.box is None else transfer_mask(photo.box, found)
        yield (
            Row(photo.product_id, photo.digest, KIND),
            cut_out(image, seen, spec.input_px, plan, spec.resize),
        )
