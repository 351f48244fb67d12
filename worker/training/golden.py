"""Use golden queries as further photos of their products: most for training, a share held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.contracts.base import Box
from shared.errors import InvalidInput
from worker.scenes.cutouts import is_held_out
from worker.training.crop_features import CHUNK, Features, read_or_compute
from worker.training.crop_set import Row
from worker.training.crops import CropSpec
from worker.vision import Detector, Image
from worker.vision.crops import cut_out, transfer_mask
from worker.vision.models import CropPlan
from worker.vision.runtimes import Runtime

#: Percentage of photos held out, by a hash of each, so that a photo is always on the same side.
GOLDEN_HELD_OUT_PERCENT = 25
KIND = "golden"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class GoldenPhoto:
    """An object of a photo with its product; ``read`` decodes the photo.

    Attributes:
        product_id: of the shop.
        box: of the object; None for the most prominent one.
        digest: SHA-256 of the photo's file.
    """

    product_id: str
    box: Box | None
    digest: str
    read: Callable[[], Image]


@dataclass(frozen=True)
class GoldenSet:
    """Golden queries, and the detector that finds their objects."""

    photos: Sequence[GoldenPhoto]
    detector: Detector


@dataclass(frozen=True)
class Shares:
    """Golden queries by use, with the product ids of the data pack.

    Attributes:
        used: for training.
        held_out: for validation: a quarter of the photos, and those of held-out products.
        left_out: number of those whose product was not cut out for this training.
    """

    used: list[GoldenPhoto]
    held_out: list[GoldenPhoto]
    left_out: int


def split_golden(photos: Sequence[GoldenPhoto], data: Path, train: Features, held: Features) -> Shares:
    """Split golden queries into training and validation; objects of one photo stay together.

    Raises:
        InvalidInput: none is left for training.
    """
    lines = (data / "products" / "products.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names = {row.get("shop_id", row["product_id"]): row["product_id"] for row in rows}
    trained, validating = ({row.product_id for row in part.rows if row.is_gallery} for part in (train, held))
    known = [
        GoldenPhoto(names[photo.product_id], photo.box, photo.digest, photo.read)
        for photo in photos
        if names.get(photo.product_id) in trained | validating
    ]
    kept_back = {
        photo.digest
        for photo in known
        if photo.product_id in validating or is_held_out(photo.digest, GOLDEN_HELD_OUT_PERCENT)
    }
    used = [photo for photo in known if photo.digest not in kept_back]
    if not used:
        raise InvalidInput(
            f"Of {len(photos)} golden queries {len(known)} have products that could be cut out, and all of "
            "those are held out: add golden queries, or train without --golden.",
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
    """Compute the features of golden queries, cut out as in a search, or read those of an earlier run.

    Args:
        stage: name of the stage for the progress.
        folder: cache of this trunk and crop rule only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values, rows = [], []
    for start in range(0, len(photos), CHUNK):
        part = photos[start : start + CHUNK]
        facts = repr([(photo.product_id, photo.box, photo.digest) for photo in part])
        key = hashlib.sha256(f"{detector.version} {facts}".encode()).hexdigest()[:16]
        part_values, part_rows = read_or_compute(folder / f"{key}.npz", _crops(part, spec, detector), trunk)
        values.append(part_values)
        rows += part_rows
        progress(stage, start + len(part), len(photos))
    return Features(np.concatenate(values) if values else np.zeros((0, 0), np.float32), rows)


def _crops(photos: Sequence[GoldenPhoto], spec: CropSpec, detector: Detector) -> Iterator[tuple[Row, Image]]:
    plan = CropPlan(mode=spec.mode, fill=spec.fill, margin=spec.margin)
    for photo in photos:
        image = photo.read()
        found = detector.detect([image])[0]
        # Without a detection, use the whole photo, as a search does.
        detection = next(iter(found), None) if photo.box is None else transfer_mask(photo.box, found)
        yield (
            Row(photo.product_id, photo.digest, KIND),
            cut_out(image, detection, spec.input_px, plan, spec.resize),
        )
