"""A whole evaluation of sets whose right figures are known, through the library and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from shared.errors import ImageMissing, InvalidInput, InvalidManifest
from worker.evaluation.dataset import read_set
from worker.evaluation.page import worst_answers, write_page
from worker.evaluation.run import evaluate
from worker.vision import Detection, Image
from worker.vision.baselines import ColourHistogram, WholeImage
from worker.vision.crops import cut_out
from worker.vision.models import CropPlan
from worker.vision.pipeline import Pipeline

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GREY = (128, 128, 128)
#: Each in a bin of its own of the colour histogram, away from the grey.
COLOURS = {
    "red": (224, 16, 32),
    "green": (16, 224, 32),
    "blue": (16, 16, 224),
    "yellow": (224, 224, 32),
    "pink": (224, 16, 224),
}


class ColourDetector:
    """Finds the box around every colour that is a product's, except those it is told not to see."""

    version = "colours@1"

    def __init__(self, *blind: str) -> None:
        self.blind = blind

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        return [[d for name in COLOURS if (d := self._find(image, name))] for image in images]

    def _find(self, image: Image, name: str) -> Detection | None:
        near = np.abs(image.astype(int) - COLOURS[name]).max(axis=2) < 24
        if name in self.blind or near.sum() < 20:
            return None
        rows, columns = np.nonzero(near)
        height, width = near.shape
        box = (
            float(columns.min() / width),
            float(rows.min() / height),
            float((columns.max() + 1) / width),
            float((rows.max() + 1) / height),
        )
        return Detection(box, "product", 0.9)


def save(
    path: Path, size: tuple[int, int], *objects: tuple[str, tuple[int, int, int, int]]
) -> dict[str, Any]:
    """Draw the products of these colours on grey; return the line of the benchmark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = GREY
    for name, (x0, y0, x1, y1) in objects:
        pixels[y0:y1, x0:x1] = COLOURS[name]
    Picture.fromarray(pixels).save(path)
    return {
        "file": f"benchmark/{path.name}",
        "size": list(size),
        "objects": [{"product_id": name, "box": list(box)} for name, box in objects],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    products: list[dict[str, Any]] = []
    for name in COLOURS:
        save(tmp_path / f"products/images/{name}.png", (64, 64), (name, (0, 0, 64, 64)))
        products.append({"product_id": name, "image": f"images/{name}.png"})
    # The red product has a second picture, which looks like the green one.
    save(tmp_path / "products/images/red-2.png", (64, 64), ("green", (0, 0, 64, 64)))
    products[0] = {"product_id": "red", "images": ["images/red.png", "images/red-2.png"]}
    here = tmp_path / "benchmark"
    photographs = [
        {"kind": "same", **save(here / "a.png", (100, 80), ("blue", (10, 20, 50, 60)))},
        {"kind": "view", **save(here / "b.png", (60, 90), ("yellow", (0, 0, 30, 90)))},
        {
            "kind": "multi",
            **save(here / "c.png", (120, 60), ("pink", (0, 0, 80, 60)), ("blue", (90, 10, 110, 50))),
        },
    ]
    for name, rows in (("products/products.jsonl", products), ("benchmark.jsonl", photographs)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def recalls(figures: dict[str, Any]) -> dict[str, tuple[int, float, float]]:
    return {
        k: (figures[k]["n"], figures[k]["recall@1"], figures[k]["map"]) for k in ("same", "view", "multi")
    }


def test_perfect_pipeline_has_perfect_figures(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = evaluate(
        folder, Pipeline(ColourDetector(), ColourHistogram(), batch=2), progress=lambda *a: told.append(a)
    )
    figures = report.to_json()
    assert recalls(figures) == {"same": (1, 100, 100), "view": (1, 100, 100), "multi": (2, 100, 100)}
    detector = figures["detector"]
    assert (detector["recall@.5"], detector["recall@.75"]) == (100, 100)
    assert (detector["mean_iou"], detector["false_per_picture"]) == (100, 0)
    assert figures["models"] == {
        "detector": "colours@1",
        "embedder": "colour-histogram",
        "truth": "auto",
        "gallery": "5",
    }
    assert told[-1] == ("photographs", 3, 3)
    assert ("gallery", 6, 6) in told
    json.dumps(figures)
    assert worst_answers(report.answers) == []


def test_hits_of_the_first_object_alone_are_reported_apart(folder: Path) -> None:
    """A green thing with something pink on it is found before the blue product."""
    wrong = save(
        folder / "benchmark/a.png",
        (100, 80),
        *(("green", (30, 30, 70, 60)), ("pink", (40, 40, 60, 55)), ("blue", (0, 0, 20, 20))),
    )
    path = folder / "benchmark.jsonl"
    rows = path.read_text(encoding="utf-8").splitlines()
    photograph = {"kind": "same", **wrong, "objects": wrong["objects"][2:]}
    path.write_text("\n".join([json.dumps(photograph), *rows[1:]]) + "\n", encoding="utf-8")
    figures = evaluate(folder, Pipeline(ColourDetector("pink"), ColourHistogram())).to_json()
    assert (figures["same"]["recall@1"], figures["same"]["first_recall@1"]) == (100, 0)
    assert figures["same"]["first_recall@10"] == 100
    assert figures["view"]["first_recall@1"] == 100
    assert "first_recall@1" not in figures["multi"]


def test_an_object_that_is_not_detected_is_not_found(folder: Path) -> None:
    report = evaluate(folder, Pipeline(ColourDetector("blue"), ColourHistogram()))
    figures = report.to_json()
    # One of two objects; the single one is still found by its whole image.
    assert recalls(figures)["multi"] == (2, 50, 50)
    assert figures["detector"]["recall@.5"] == 50
    assert recalls(figures)["same"][0] == 1
    (missed,) = [a for a in worst_answers(report.answers) if a.rank is None]
    assert (missed.expected.product_id, missed.best) == ("blue", None)


def test_true_boxes_stand_in_for_the_detector(folder: Path) -> None:
    figures = evaluate(folder, Pipeline(WholeImage(), ColourHistogram()), truth="box").to_json()
    assert recalls(figures) == {"same": (1, 100, 100), "view": (1, 100, 100), "multi": (2, 100, 100)}
    assert figures["detector"]["recall@.5"] == 0
    assert figures["models"]["truth"] == "box"


class MaskedHistogram(ColourHistogram):
    """Looks at what is inside the mask alone."""

    uses_masks = True

    def crop(self, image: Image, detection: Detection | None) -> Image:
        return cut_out(image, detection, 64, CropPlan(mode="mask"), "stretch")


def mask_all(folder: Path, shown: tuple[int, int, int, int]) -> None:
    """Give the blue product of the first photograph a mask of so much of its box, the others of all."""
    path = folder / "benchmark.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        for place, seen in enumerate(row["objects"]):
            x0, y0, x1, y1 = shown if number == 0 else seen["box"]
            mask = np.zeros((row["size"][1], row["size"][0]), np.uint8)
            mask[y0:y1, x0:x1] = 255
            seen["mask"] = f"masks/{number}-{place}.png"
            (folder / "masks").mkdir(exist_ok=True)
            Picture.fromarray(mask).save(folder / seen["mask"])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_true_masks_leave_the_background_out(folder: Path) -> None:
    # The larger part of the box is a green thing before which the blue one stands.
    save(folder / "benchmark/a.png", (100, 80), ("green", (10, 20, 50, 60)), ("blue", (10, 20, 25, 60)))
    mask_all(folder, (10, 20, 25, 60))
    pipeline = Pipeline(WholeImage(), MaskedHistogram())
    boxes = evaluate(folder, pipeline, truth="box").to_json()
    masks = evaluate(folder, pipeline, truth="mask").to_json()
    assert (boxes["same"]["recall@1"], masks["same"]["recall@1"]) == (0, 100)
    assert recalls(masks)["multi"] == (2, 100, 100)
    assert masks["models"]["truth"] == "mask"


def test_masks_that_are_not_there_are_said(folder: Path) -> None:
    with pytest.raises(InvalidManifest, match=r"a\.png has a box and no mask for blue: .* --truth box"):
        evaluate(folder, Pipeline(WholeImage(), MaskedHistogram()), truth="mask")
    mask_all(folder, (10, 20, 50, 60))
    with pytest.raises(InvalidInput, match="--crop mask"):
        evaluate(folder, Pipeline(WholeImage(), ColourHistogram()), truth="mask")


def test_without_a_detector_the_whole_image_answers_for_every_object(folder: Path) -> None:
    figures = evaluate(folder, Pipeline(WholeImage(), ColourHistogram())).to_json()
    assert recalls(figures)["view"] == (1, 100, 100)
    # Pink covers more of the picture than blue does.
    assert recalls(figures)["multi"] == (2, 50, 75)


def test_limit_keeps_the_gallery_whole(folder: Path) -> None:
    data = read_set(folder, limit=1)
    assert len(data.gallery) == 6
    assert [p.kind for p in data.photographs] == ["same", "view", "multi"]


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("benchmark.jsonl", "{", "benchmark.jsonl line 1 is not JSON"),
        ("benchmark.jsonl", "[]", "line 1 is not a JSON object"),
        ("benchmark.jsonl", '{"file": "x.png"}', "line 1 needs file, kind, size and objects"),
        (
            "benchmark.jsonl",
            '{"file": "x", "kind": "odd", "size": [1, 1], "objects": []}',
            "has the kind 'odd'",
        ),
        ("benchmark.jsonl", '{"file": "../x", "kind": "same", "size": [1, 1], "objects": []}', "outside of"),
        (
            "benchmark.jsonl",
            '{"file": "x", "kind": "same", "size": [9, 9],'
            ' "objects": [{"product_id": "no", "box": [0, 0, 1, 1]}]}',
            "shows no, which products.jsonl does not list",
        ),
        ("products/products.jsonl", '{"product_id": "x"}', "line 1 lacks a product_id or an image"),
        ("products/products.jsonl", '{"product_id": "x", "image": "../../y"}', "outside of"),
    ],
)
def test_malformed_set_names_the_line(folder: Path, file: str, line: str, message: str) -> None:
    (folder / file).write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InvalidManifest, match=message):
        read_set(folder)


def test_missing_parts_are_named(folder: Path) -> None:
    (folder / "benchmark/a.png").unlink()
    with pytest.raises(ImageMissing, match=r"a\.png"):
        evaluate(folder, Pipeline(WholeImage(), ColourHistogram()))
    (folder / "benchmark.jsonl").unlink()
    with pytest.raises(InvalidManifest, match=r"benchmark\.jsonl cannot be read"):
        read_set(folder)


def test_page_shows_the_worst_cases_and_needs_nothing_else(folder: Path, tmp_path: Path) -> None:
    report = evaluate(folder, Pipeline(ColourDetector("blue"), ColourHistogram()))
    write_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "c.png (multi): blue: <b>not detected</b>" in page
    assert page.count("data:image/jpeg;base64,") >= 2
    assert "http" not in page
    assert "<script" not in page


def test_command_prints_one_document(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VITRINE_")}
    environment |= {"VITRINE_DATA_DIR": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cli.main", "evaluate", str(folder), "--detector", "none"]
    command += ["--embedder", "colour-histogram", "--json", "--report", str(out)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert list(figures) == ["same", "view", "multi", "detector", "models", "calibration"]
    for kind in ("same", "view", "multi"):
        assert {"n", "recall@1", "recall@10", "map"} <= set(figures[kind])
    assert {"recall@.5", "recall@.75", "mean_iou", "false_per_picture"} <= set(figures["detector"])
    assert out.exists()
    broken = subprocess.run(
        [*command[:-4], "nothing", "--json"], env=environment, capture_output=True, text=True, timeout=600
    )
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["error"]["code"] == "misconfigured"


def test_a_gallery_of_many_products_tells_what_its_scores_mean(tmp_path: Path) -> None:
    products, photographs = [], []
    for n in range(120):
        colour = np.random.default_rng(n).integers(0, 220, 3)
        picture = np.full((80, 80, 3), 255, np.uint8)
        picture[12:68, 20:60] = colour
        path = tmp_path / f"products/images/p{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(picture).save(path)
        products.append({"product_id": f"p{n}", "image": f"images/p{n}.png"})
        if n % 10 == 0:
            picture[:12] = 90
            path = tmp_path / f"benchmark/p{n}.png"
            path.parent.mkdir(exist_ok=True)
            Picture.fromarray(picture).save(path)
            seen = [{"product_id": f"p{n}", "box": [20, 12, 60, 68]}]
            photographs.append(
                {"file": f"benchmark/p{n}.png", "kind": "same", "size": [80, 80], "objects": seen}
            )
    for name, rows in (("products/products.jsonl", products), ("benchmark.jsonl", photographs)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    report = evaluate(tmp_path, Pipeline(WholeImage(), ColourHistogram()), calibrate=True)
    found = report.to_json()["calibration"]
    assert set(found) == {"whole", "composed"}
    assert (found["whole"]["first"]["n"], found["whole"]["all"]["n"]) == (12, 240)
    assert 0 <= found["whole"]["first"]["ece"] <= 1
    json.dumps(found)
    write_page(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "calibration error" in page


def test_a_small_gallery_says_that_it_teaches_too_little(folder: Path) -> None:
    report = evaluate(folder, Pipeline(ColourDetector(), ColourHistogram()), calibrate=True)
    assert report.to_json()["calibration"] is None
    assert "calibration" not in evaluate(folder, Pipeline(WholeImage(), ColourHistogram())).to_json()
    write_page(report, folder / "page.html")
    assert "<svg" not in (folder / "page.html").read_text(encoding="utf-8")
