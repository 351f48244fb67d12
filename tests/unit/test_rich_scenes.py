"""Scenes that real photographs' failures taught: what they claim is true, and plain scenes do not change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from training import label_backgrounds
from training.judge_detector import measure_at_rate
from training.validation_set import write_set
from worker.evaluation.dataset import read_set
from worker.scenes.composer import Composer, ComposerConfig, Scene
from worker.scenes.cutouts import Cutout, is_held_out
from worker.scenes.interface import embed_in_page
from worker.scenes.labelled import crop_labelled, list_photos
from worker.scenes.lighting import MIN_MEAN, cast_hard_shadow, light_scene
from worker.scenes.parts import add_parts, squeeze
from worker.training.detector import open_composer
from worker.training.detector_eval import Found
from worker.training.scenes import SceneBatches

pytestmark = pytest.mark.slow

PLAIN = ComposerConfig(size_px=128, catalogue=0.0, empty=0.0, scale=(0.3, 0.9))
MAGENTA = (230, 20, 220)
PRODUCTS = 40


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty training products with two views, and forty green backgrounds with a red disc."""
    for folder in ("products/images", "cutouts", "backgrounds"):
        (tmp_path / folder).mkdir(parents=True)
    rows = []
    for index in range(PRODUCTS):
        name = f"thing-{index:02}"
        rows.append({"product_id": name, "split": "train", "image": f"images/{name}.jpg"})
        pixels = np.zeros((60, 80, 4), np.uint8)
        pixels[5:55, 10:70] = (*MAGENTA, 255)
        for view in range(2):
            Image.fromarray(pixels).save(tmp_path / "cutouts" / f"{name}-v{view}.webp", lossless=True)
        Image.new("RGB", (30, 30), MAGENTA).save(tmp_path / "products/images" / f"{name}.jpg")
        photo = np.zeros((150, 200, 3), np.uint8)
        photo[:] = (20, 160, 30)
        photo[50:100, 60:120] = (220, 20, 20)
        Image.fromarray(photo).save(tmp_path / "backgrounds" / f"{index:03}.jpg", quality=95)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "products/products.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def composer(data: Path, config: ComposerConfig) -> Composer:
    cutouts = [Cutout(p.stem.rsplit("-v", 1)[0], p) for p in sorted((data / "cutouts").glob("*.webp"))]
    return Composer(cutouts, sorted((data / "backgrounds").glob("*.jpg")), config)


def is_true(scene: Scene) -> bool:
    """Whether boxes hold their masks exactly, masks do not overlap, and all lies in the picture."""
    if scene.masks.shape[1:] != scene.image.shape[:2] or (scene.masks.sum(axis=0) > 1).any():
        return False
    for mask, box in zip(scene.masks, scene.boxes, strict=True):
        ys, xs = np.nonzero(mask)
        if [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] != [int(v) for v in box]:
            return False
    return True


@pytest.mark.parametrize("share", ["ground", "light", "interface", "hand", "hard_shadow", "parts", "thin"])
def test_each_kind_of_scene_is_true_and_the_same_again(data: Path, share: str) -> None:
    rich = composer(data, replace(PLAIN, **{share: 1.0}))  # type: ignore[arg-type]
    plain = composer(data, PLAIN)
    scenes = [rich.compose((1, n)) for n in range(12)]
    assert all(is_true(scene) for scene in scenes)
    assert sum(len(scene.boxes) for scene in scenes) >= 10
    again = composer(data, replace(PLAIN, **{share: 1.0})).compose((1, 7))  # type: ignore[arg-type]
    assert np.array_equal(again.image, scenes[7].image)
    others = [plain.compose((1, n)) for n in range(12)]
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(scenes, others, strict=True))


def test_favoured_products_are_drawn_more_often(data: Path) -> None:
    config = replace(PLAIN, favoured="thing-0", favoured_share=0.8, single=1.0)
    shown = [composer(data, config).compose((2, n)).product_ids for n in range(60)]
    favoured = sum(name.startswith("thing-0") for names in shown for name in names)
    assert favoured > 0.6 * sum(map(len, shown))  # a quarter of the products


def test_a_page_owns_nothing_of_what_it_shows_around_the_scene() -> None:
    scene = np.full((120, 90, 3), (20, 160, 30), np.uint8)
    owner = np.ones((120, 90), np.int16)
    for seed in range(20):
        page, shown = embed_in_page(np.random.default_rng(seed), scene, owner)
        assert page.shape[:2] == shown.shape
        assert max(page.shape) == 120
        assert 0.05 < (shown == 1).mean() < 0.95
        ys, xs = np.nonzero(shown)
        box = page[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        assert (np.abs(box.astype(int) - (20, 160, 30)).max(axis=2) < 3).mean() > 0.85


def test_parts_stay_inside_the_product_unless_it_has_a_strap() -> None:
    patch = np.zeros((60, 60, 4), np.uint8)
    patch[10:50, 10:50] = (*MAGENTA, 255)
    changed = 0
    for seed in range(20):
        result = add_parts(np.random.default_rng(seed), patch)
        if result.shape != patch.shape:
            assert (result[..., 3] > 0).sum() >= (patch[..., 3] > 0).sum()
            continue
        assert np.array_equal(result[..., 3], patch[..., 3])
        assert not result[..., :3][patch[..., 3] == 0].any()
        changed += not np.array_equal(result, patch)
    assert changed > 10
    thin = squeeze(np.random.default_rng(1), patch)
    assert min(thin.shape[:2]) < 45


def test_a_hard_shadow_darkens_the_ground_and_a_dark_scene_still_shows_something() -> None:
    canvas = np.full((100, 100, 3), 200, np.uint8)
    patch = np.zeros((40, 20, 4), np.uint8)
    patch[..., 3] = 255
    before = canvas.copy()
    cast_hard_shadow(np.random.default_rng(4), canvas, patch, 30, 40)
    assert (canvas <= before).all()
    assert (canvas < 160).any()
    for seed in range(40):
        lit = light_scene(np.random.default_rng(seed), before)
        assert lit.mean() > MIN_MEAN * 0.6


def test_a_labelled_photograph_is_cut_with_its_truth(data: Path) -> None:
    (data / "masks").mkdir()
    owner = np.zeros((150, 200), np.uint8)
    owner[50:100, 60:120] = 1
    names = sorted(path.stem for path in (data / "backgrounds").glob("*.jpg"))
    for name in names[::2]:
        Image.fromarray(owner).save(data / "masks" / f"{name}.png")
    rich = open_composer(data, 128, True, held_out=False)
    assert list_photos(data, [data / "backgrounds" / f"{names[0]}.jpg"])
    found = 0
    for seed in range(40):
        part = crop_labelled(
            np.random.default_rng(seed), np.full((150, 200, 3), 9, np.uint8), owner.astype(np.int16), 64, 64
        )
        if part is not None:
            found += 1
            assert part[0].shape == (64, 64, 3)
            assert (part[1] == 1).any()
    assert found > 10
    rich.config = replace(rich.config, photos=1.0, catalogue=0.0, light=0.0, interface=0.0, hand=0.0)
    scenes = [rich.compose((3, n)) for n in range(12)]
    assert all(is_true(scene) for scene in scenes)
    photos = [
        (scene, n) for scene in scenes for n, name in enumerate(scene.product_ids) if name[:6] == "photo-"
    ]
    assert len(photos) >= 6
    for scene, n in photos:
        colour = scene.image[scene.masks[n]].mean(axis=0)
        assert colour[0] > colour[1] + 60  # red, not green


class Teacher:
    """Says that what is red in a photograph is what it is about."""

    def __call__(self, tensor: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        red, green = tensor[0, 0], tensor[0, 1]
        return [(red > green).astype(np.float32)[None, None]]


def test_a_teacher_labels_photographs_and_cuts_out_what_they_show(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Core:
        def compile_model(self, path: str, device: str, options: dict[str, Any]) -> Teacher:
            return Teacher()

    fake = type("openvino", (), {"Core": Core})
    monkeypatch.setattr(label_backgrounds, "load_openvino", lambda: fake)
    out = tmp_path / "pack"
    command = ["--data", str(data), "--out", str(out), "--teacher", "x.onnx", "--choose", "000-019,030"]
    label_backgrounds.main([*command, "--skip", "003"])
    masks = {path.stem for path in (out / "masks").glob("*.png")}
    assert masks == {f"{n:03}" for n in (*range(20), 30) if n != 3}
    owner = np.asarray(Image.open(out / "masks/000.png"))
    assert (owner == 1).sum() == pytest.approx(50 * 60, rel=0.1)
    cut = sorted(out.glob("cutouts/stamp-photo-*.webp"))
    held = {name for name in masks if is_held_out(name, 10)}
    assert {path.stem[12:15] for path in cut} == masks - held
    assert held, "one of these names is held out, or the test shows nothing"
    rows = (out / "products/products.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == PRODUCTS + len(cut)
    assert len(list(out.glob("cutouts/thing-*.webp"))) == 2 * PRODUCTS


def test_batches_are_of_several_sizes_in_turns(data: Path) -> None:
    composers = [composer(data, replace(PLAIN, size_px=size)) for size in (96, 128)]
    composers[0].share_pictures(composers[1])
    stream = iter(SceneBatches(composers, 2, 5))
    batches = [next(stream) for _ in range(3)]
    assert [batch["img"].shape for batch in batches] == [
        torch.Size((2, 3, size, size)) for size in (96, 128, 96)
    ]
    later = next(iter(SceneBatches(composers, 2, 5, first=2)))
    assert torch.equal(later["img"], batches[2]["img"])


def test_the_set_to_choose_by_shows_held_out_products_and_has_true_masks(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "val"
    count = write_set(data, out, seen=False)
    labelled = read_set(out)
    assert len(labelled.photographs) == count > 0
    assert len(labelled.gallery) == PRODUCTS
    shown = {each.product_id for photograph in labelled.photographs for each in photograph.objects}
    assert shown
    assert all(is_held_out(name, 6) for name in shown)
    assert all(each.mask is not None for photograph in labelled.photographs for each in photograph.objects)
    first = (out / "benchmark.jsonl").read_text(encoding="utf-8")
    again = tmp_path / "again"
    write_set(data, again, seen=False)
    assert (again / "benchmark.jsonl").read_text(encoding="utf-8") == first


def test_recall_is_told_at_equal_rates_of_false_objects() -> None:
    def found(*rows: tuple[float, tuple[int, int, int, int]]) -> Found:
        boxes = np.array([box for _, box in rows], np.float32).reshape(-1, 4)
        return Found(
            boxes, np.array([score for score, _ in rows], np.float32), np.zeros((len(rows), 1, 1), bool)
        )

    here, there = (0, 0, 10, 10), (50, 50, 60, 60)
    truth = np.array([here], np.float32)
    seen = [
        (truth, found((0.9, here), (0.5, there))),
        (truth, found((0.3, here), (0.2, there))),
    ]
    assert measure_at_rate(seen, 1.0)[1:] == (1.0, 1.0)
    threshold, recall, _ = measure_at_rate(seen, 0.5)
    assert (0.2 < threshold < 0.3, recall) == (True, 1.0)
    threshold, recall, _ = measure_at_rate(seen, 0.0)
    assert (0.5 < threshold < 0.9, recall) == (True, 0.5)
