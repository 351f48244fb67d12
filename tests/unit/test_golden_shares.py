"""Which golden queries teach an embedder, and which judge it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput
from worker.scenes.cutouts import is_held_out
from worker.training.crop_features import Features
from worker.training.crop_set import Row
from worker.training.golden import GOLDEN_HELD_OUT_PERCENT, GoldenPhoto, split_golden
from worker.training.head import ProductSampler

# Training imports torch, which takes seconds.
pytestmark = pytest.mark.slow


def features(*products: str) -> Features:
    rows = [Row(name, f"{name}-v0", "clean") for name in products]
    return Features(np.zeros((len(rows), 4), np.float32), rows)


def golden(product: str, photo: int) -> GoldenPhoto:
    digest = hashlib.sha256(str(photo).encode()).hexdigest()
    return GoldenPhoto(product, None, digest, lambda: np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A pack of a catalogue: numbers stand for the shop's own names."""
    rows = [{"product_id": f"p{i}", "split": "train", "shop_id": f"chair {i}"} for i in range(4)]
    (tmp_path / "products").mkdir()
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "products" / "products.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_photo_is_always_on_the_same_side(data: Path) -> None:
    train, held = features("p0", "p1"), features("p2")
    few = [golden("chair 0", photo) for photo in range(200)]
    shares = split_golden(few, data, train, held)
    assert {photo.product_id for photo in shares.used} == {"p0"}
    assert 30 <= len(shares.held_out) <= 70
    assert len(shares.used) + len(shares.held_out) == 200
    # More of them move none, and all that one photo shows goes where the photo goes.
    more = split_golden([*few, *(golden("chair 1", photo) for photo in range(300))], data, train, held)
    used, judging = ({photo.digest for photo in part} for part in (more.used, more.held_out))
    assert not used & judging
    assert {photo.digest for photo in shares.used} <= used
    assert {photo.digest for photo in shares.held_out} <= judging


def test_photos_of_products_that_judge_teach_nothing(data: Path) -> None:
    teaching = next(
        photo
        for photo in range(100)
        if not is_held_out(golden("chair 0", photo).digest, GOLDEN_HELD_OUT_PERCENT)
    )
    alone = split_golden([golden("chair 0", teaching)], data, features("p0"), features("p2"))
    assert len(alone.used) == 1
    photos = [golden("chair 0", teaching), golden("chair 2", teaching), *some()]
    shares = split_golden(photos, data, features("p0"), features("p2"))
    assert golden("chair 0", teaching).digest not in {photo.digest for photo in shares.used}
    assert {photo.product_id for photo in shares.held_out} >= {"p0", "p2"}


def test_products_without_a_cut_out_are_left_out_and_counted(data: Path) -> None:
    photos = [*some(), golden("chair 3", 7), golden("nobody's", 8)]
    assert split_golden(photos, data, features("p0"), features("p2")).left_out == 2
    with pytest.raises(InvalidInput, match="Of 2 golden queries 0 have products"):
        split_golden(photos[-2:], data, features("p0"), features("p2"))


def test_a_golden_query_is_drawn_as_a_photo_of_its_product() -> None:
    rows = [Row("a", "a-v0", "clean"), Row("a", "a-v0", "mask"), Row("a", "0f", "golden")]
    rows += [Row("b", "b-v0", "clean"), Row("b", "b-v0", "mask")]
    sampler = ProductSampler(rows, ["golden", "mask"], 0)
    drawn = [sampler.draw(2, 3) for _ in range(20)]
    labels = {
        int(label) for numbers, found in drawn for n, label in zip(numbers, found, strict=True) if n == 2
    }
    assert labels == {sampler.products.index("a")}


def some() -> list[GoldenPhoto]:
    """Enough of them that some teach."""
    return [golden("chair 0", photo) for photo in range(1000, 1012)]
