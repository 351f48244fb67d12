"""Composed scenes: the truth they claim is the truth in the picture, and no test product gets in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worker.scenes.composer import Composer, ComposerConfig
from worker.scenes.cutouts import is_held_out, list_backgrounds, list_cutouts
from worker.training.crops import CropSpec, box_on_white, crop_object, imperfect_mask

MAGENTA = (230, 20, 220)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty products, every fourth a test product, and ten plain green backgrounds."""
    for folder in ("products", "cutouts", "backgrounds"):
        (tmp_path / folder).mkdir()
    rows = []
    for index in range(20):
        name = f"thing-{index:02}"
        rows.append(json.dumps({"product_id": name, "split": "test" if index % 4 == 0 else "train"}))
        pixels = np.zeros((60, 80, 4), np.uint8)
        pixels[5:55, 10:70] = (*MAGENTA, 255)
        for view in range(2):
            Image.fromarray(pixels).save(tmp_path / "cutouts" / f"{name}-v{view}.webp", lossless=True)
    (tmp_path / "products" / "products.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for index in range(10):
        Image.new("RGB", (200, 150), (20, 160, 30)).save(tmp_path / "backgrounds" / f"{index:03}.jpg")
    return tmp_path


def compose_all(data: Path, config: ComposerConfig) -> Composer:
    cutouts = list_cutouts(data, held_out=False) + list_cutouts(data, held_out=True)
    return Composer(cutouts, sorted((data / "backgrounds").glob("*.jpg")), config)


def test_test_products_are_never_listed(data: Path) -> None:
    listed = {c.product_id for part in (True, False) for c in list_cutouts(data, held_out=part)}
    assert listed == {f"thing-{i:02}" for i in range(20) if i % 4}


def test_held_out_parts_do_not_meet(data: Path) -> None:
    kept = {c.product_id for c in list_cutouts(data, held_out=False, percent=50)}
    held = {c.product_id for c in list_cutouts(data, held_out=True, percent=50)}
    assert kept
    assert held
    assert not kept & held
    paths = [list_backgrounds(data, held_out=part, percent=50) for part in (True, False)]
    assert len(paths[0]) + len(paths[1]) == 10
    assert not set(paths[0]) & set(paths[1])


def test_held_out_depends_on_the_name_alone() -> None:
    assert [is_held_out(f"p{i}", 100) for i in range(3)] == [True] * 3
    assert sum(is_held_out(f"p{i}", 10) for i in range(2000)) == pytest.approx(200, abs=60)


def test_the_same_seed_gives_the_same_scene(data: Path) -> None:
    first = compose_all(data, ComposerConfig(size_px=96)).compose((3, 4))
    composer = compose_all(data, ComposerConfig(size_px=96))
    composer.compose((9, 9))
    second = composer.compose((3, 4))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)
    assert first.product_ids == second.product_ids
    assert not np.array_equal(first.image, composer.compose((3, 5)).image)


def test_boxes_hold_their_masks_exactly_and_masks_do_not_overlap(data: Path) -> None:
    composer = compose_all(data, ComposerConfig(size_px=128))
    seen = 0
    for seed in range(60):
        scene = composer.compose(seed)
        assert max(scene.image.shape[:2]) == 128
        assert scene.masks.shape == (len(scene.boxes), *scene.image.shape[:2])
        assert scene.masks.sum(0).max(initial=0) <= 1
        for box, mask in zip(scene.boxes.astype(int), scene.masks, strict=True):
            inside = mask[box[1] : box[3], box[0] : box[2]]
            assert inside.sum() == mask.sum()
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            seen += 1
    assert seen > 60


def test_a_catalogue_scene_is_one_product_on_near_white(data: Path) -> None:
    composer = compose_all(data, ComposerConfig(size_px=160, catalogue=1.0, empty=0.0))
    for seed in range(10):
        scene = composer.compose(seed)
        assert len(scene.boxes) == 1
        assert scene.image[~scene.masks[0]].mean() > 215
        # The product's own colour is where its mask says that it is.
        middle = scene.image[scene.masks[0]].astype(int).mean(0)
        assert np.abs(middle - np.array(MAGENTA)).max() < 25


def test_empty_scenes_have_no_truth(data: Path) -> None:
    scene = compose_all(data, ComposerConfig(size_px=64, empty=1.0)).compose(1)
    assert scene.boxes.shape == (0, 4)
    assert scene.masks.shape[0] == 0
    assert scene.product_ids == ()


def test_wanted_products_are_the_ones_placed(data: Path) -> None:
    composer = compose_all(data, ComposerConfig(size_px=160, catalogue=0.0))
    wanted = list_cutouts(data, held_out=False)[:2]
    placed = {p for seed in range(10) for p in composer.compose(seed, wanted).product_ids}
    assert placed <= {c.product_id for c in wanted}
    assert placed


@pytest.mark.slow
def test_a_batch_has_fractional_boxes_and_numbered_masks(data: Path) -> None:
    from worker.training.scenes import to_batch  # imports torch, which takes seconds

    composer = compose_all(data, ComposerConfig(size_px=128, empty=0.0))
    scenes = [composer.compose(seed) for seed in range(4)]
    batch = to_batch(scenes, 128)
    count = sum(len(s.boxes) for s in scenes)
    assert batch["img"].shape == (4, 3, 128, 128)
    assert batch["bboxes"].shape == (count, 4)
    assert batch["cls"].shape == (count, 1)
    assert float(batch["bboxes"].min()) >= 0
    assert float(batch["bboxes"].max()) <= 1
    assert batch["masks"].shape == (4, 32, 32)
    assert [int(m.max()) for m in batch["masks"]] == [len(s.boxes) for s in scenes]


@pytest.mark.slow
def test_letterbox_maps_points_back() -> None:
    from worker.training.scenes import letterbox  # imports torch, which takes seconds

    image = np.zeros((50, 100, 3), np.uint8)
    image[20:30, 40:60] = 255
    square, scale, left, top = letterbox(image, 200)
    assert (scale, left, top) == (2.0, 0, 50)
    assert square[0, 0].tolist() == [114] * 3
    assert square[int(25 * scale + top), int(50 * scale + left)].tolist() == [255] * 3


def test_a_mask_crop_paints_everything_else() -> None:
    image = np.full((80, 100, 3), 30, np.uint8)
    image[20:60, 30:70] = MAGENTA
    mask = np.zeros((80, 100), np.float32)
    mask[20:60, 30:70] = 1
    spec = CropSpec(input_px=64, margin=0.25)
    crop = crop_object(image, np.array([30, 20, 70, 60], np.float32), mask, spec)
    assert crop.shape == (64, 64, 3)
    assert crop[2, 2].tolist() == [255] * 3
    assert crop[32, 32].tolist() == list(MAGENTA)
    boxed = crop_object(image, np.array([30, 20, 70, 60], np.float32), None, spec)
    assert boxed[2, 2].tolist() == [30] * 3


def test_a_box_over_the_border_is_cut_at_it() -> None:
    image = np.full((40, 40, 3), 9, np.uint8)
    spec = CropSpec(input_px=40, margin=0)
    crop = crop_object(image, np.array([-20, 0, 20, 40], np.float32), None, spec)
    assert crop[20, 20].tolist() == [9] * 3
    assert crop[20, 2].tolist() == [255] * 3


def test_an_imperfect_mask_still_resembles_the_mask() -> None:
    mask = np.zeros((200, 300), np.bool_)
    mask[40:160, 80:220] = True
    overlaps = []
    for seed in range(30):
        soft = imperfect_mask(np.random.default_rng(seed), mask)
        assert soft.shape == mask.shape
        assert soft.min() >= 0
        assert soft.max() <= 1
        hard = soft > 0.5
        overlaps.append((hard & mask).sum() / (hard | mask).sum())
    assert 0.8 < np.median(overlaps) < 0.999


def test_the_box_on_white_is_tight() -> None:
    image = np.full((60, 60, 3), 255, np.uint8)
    image[10:30, 20:50] = 100
    assert box_on_white(image).tolist() == [20, 10, 50, 30]
    assert box_on_white(np.full((8, 9, 3), 255, np.uint8)).tolist() == [0, 0, 9, 8]
