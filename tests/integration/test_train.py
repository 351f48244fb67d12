"""`vitrine train` on small networks and drawn products: trained, registered, resumed, refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Pictures

from cli.main import app
from shared.database.migrate import migrate
from shared.database.tables import Catalogue, Image, Product
from shared.errors import InvalidInput
from shared.factories import open_database, open_image_store
from shared.settings import Settings, get_settings
from tests.tiny_models import write_registry
from worker.scenes.cutouts import is_held_out
from worker.scenes.segmentation import segment_product
from worker.training.catalogue_pack import Photo, write_pack
from worker.training.progress import load_checkpoint
from worker.vision import Detection
from worker.vision.baselines import WholeImage
from worker.vision.embedder import load_embedder
from worker.vision.models import find_model

pytestmark = pytest.mark.long
PRODUCTS = 60


def drawn(number: int) -> np.ndarray:
    """A product photo on white: a shape in colours of its own."""
    rng = np.random.default_rng(number)
    photo = np.full((150, 120, 3), 255, np.uint8)
    for _ in range(4):
        colour = tuple(int(v) for v in rng.integers(0, 200, 3))
        centre = (int(rng.integers(40, 80)), int(rng.integers(50, 100)))
        cv2.ellipse(
            photo, centre, (int(rng.integers(12, 30)), int(rng.integers(12, 35))), 0, 0, 360, colour, -1
        )
    return photo


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, a registry of small models, and a catalogue of drawn products."""
    models = write_registry(tmp_path / "models", tmp_path / "cache")
    monkeypatch.setenv("VITRINE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("VITRINE_MODELS__FOLDER", str(models))
    monkeypatch.setenv("VITRINE_MODELS__THREADS", "1")
    get_settings.cache_clear()
    fill_catalogue(get_settings())
    return tmp_path


def fill_catalogue(settings: Settings) -> None:
    database, store = open_database(settings), open_image_store(settings)
    migrate(database)
    with database.write() as session:
        session.add(Catalogue(id=1, name="shop", created_at=0.0))
        session.flush()
        for number in range(PRODUCTS):
            _, data = cv2.imencode(".png", drawn(number)[..., ::-1])
            key = store.put(data.tobytes())
            row = Product(
                catalogue_id=1,
                product_id=f"../odd name {number}",
                titles={},
                category="",
                categories={},
                price=Decimal(1),
                tags=[],
                attributes={},
                digest="",
                updated_at=0.0,
            )
            session.add(row)
            session.flush()
            session.add(Image(id=f"i{number}", product=row.id, position=0, sha256=key, width=120, height=150))
    database.close()


def train(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.small_training", "train", *words, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_an_embedder_learns_a_catalogue_and_goes_on_after_a_kill(home: Path) -> None:
    out = home / "out"
    words = ("embedder", "--catalogue", "shop", "--from", "lite", "--name", "shop-lite", "--out", str(out))
    small = ("--scenes", "50", "--steps", "100", "--seed", "3")
    answer = train(*words, *small)
    assert answer["products"] + answer["held_out_products"] == PRODUCTS
    assert answer["after_recall@1"] >= answer["before_recall@1"]
    model = find_model(home / "models", "shop-lite", "embedder")
    before = find_model(home / "models", "lite", "embedder")
    rows = [
        load_embedder(m, cache_dir=home, precision="fp32").embed([np.asarray(drawn(1)[:64, :64])])
        for m in (model, before)
    ]
    assert rows[0].shape == (1, 256)
    assert answer["best_step"] == 0 or not np.allclose(rows[0], rows[1], atol=1e-3)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "data:image/jpeg" in page
    card = (home / "models" / "shop-lite.md").read_text(encoding="utf-8")
    assert "vitrine" in card
    assert model.sha256 in card

    # A kill left the last file unwritten and the head half-way: only that is done again.
    features = sorted(out.glob("features-*/*/*.npz"))
    features[-1].unlink()
    kept = {path: path.stat().st_mtime_ns for path in features[:-1]}
    again = train(*words, *small)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert features[-1].exists()
    assert again["after_recall@1"] == answer["after_recall@1"]


def write_golden(folder: Path) -> list[tuple[int, str]]:
    """Write what `vitrine feedback export --to` writes; return numbers and digests of known products.

    Of every third product one photo; the first of them says nothing of where the product is. The last photo
    is of a product that the catalogue has not.
    """
    (folder / "benchmark").mkdir(parents=True)
    rows, known = [], []
    for number in [*range(0, PRODUCTS, 3), PRODUCTS + 1]:
        photo = np.random.default_rng(900 + number).integers(0, 255, (240, 240, 3), dtype=np.uint8)
        photo[50:200, 60:180] = drawn(number)
        _, data = cv2.imencode(".png", photo[..., ::-1])
        name = f"benchmark/{number}.png"
        (folder / name).write_bytes(data.tobytes())
        box = [0, 0, 240, 240] if number == 0 else [60, 50, 180, 200]
        seen = {"product_id": f"../odd name {number}", "box": box}
        rows.append({"file": name, "kind": "view", "size": [240, 240], "objects": [seen]})
        if number < PRODUCTS:
            known.append((number, hashlib.sha256(data.tobytes()).hexdigest()))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "benchmark.jsonl").write_text(text, encoding="utf-8")
    return known


def test_golden_queries_are_learnt_from_and_a_fixed_share_judges(home: Path) -> None:
    out, known = home / "out", write_golden(home / "labelled")
    held = [n for n, digest in known if is_held_out(digest, 25) or is_held_out(f"p{n:07}", 12)]
    assert 0 < len(held) < len(known)
    words = ["embedder", "--catalogue", "shop", "--from", "lite", "--name", "told", "--out", str(out)]
    words += ["--scenes", "40", "--steps", "50"]
    answer = train(*words, "--golden", str(home / "labelled"))
    counts = {what: answer[f"golden_{what}"] for what in ("used", "held_out", "left_out")}
    assert counts == {"used": len(known) - len(held), "held_out": len(held), "left_out": 1}
    for when in ("before", "after"):
        assert 0 <= answer[f"golden_{when}_recall@1"] <= answer[f"golden_{when}_recall@10"] <= 100
    card = (home / "models" / "told.md").read_text(encoding="utf-8")
    assert f"{counts['used']} were trained on" in card
    assert f"{counts['held_out']} were held out" in card
    assert "golden_used" in (out / "report.html").read_text(encoding="utf-8")
    first = load_checkpoint(out / "head.pt")
    assert first is not None

    # Without them, all but the head is taken from what is there; it begins anew, and becomes another.
    without = train(*words)
    assert not any(key.startswith("golden") for key in without)
    assert without["crops"] == answer["crops"] - counts["used"]
    other = load_checkpoint(out / "head.pt")
    assert other is not None
    assert not np.allclose(first["head"]["weight"], other["head"]["weight"], atol=1e-6)


def test_a_detector_learns_a_catalogue_and_goes_on_after_a_kill(home: Path) -> None:
    out = home / "out"
    words = ("detector", "--catalogue", "shop", "--from", "seer", "--name", "shop-seer", "--out", str(out))
    answer = train(*words, "--minutes", "0.1", "--batch", "2")
    assert answer["steps"] >= 0
    assert (out / "checkpoint.pt").exists()
    model = find_model(home / "models", "shop-seer", "detector")
    assert model.int8 is not None
    assert "<svg" in (out / "report.html").read_text(encoding="utf-8")
    # Its minutes are over: the same command only ships it again.
    first = (out / "detector.safetensors").read_bytes()
    train(*words, "--minutes", "0.1", "--batch", "2")
    assert (out / "detector.safetensors").read_bytes() == first


def test_what_cannot_be_trained_is_refused(home: Path) -> None:
    runner, out = CliRunner(), ["--out", str(home / "out")]
    both = runner.invoke(app, ["train", "embedder", str(home), "--catalogue", "shop", "--name", "x", *out])
    assert both.exit_code == 2
    for words, error in (
        (["--from", "lite", "--name", "resnet"], "shipped model"),
        (["--from", "lite", "--name", "a/b"], "A name has"),
    ):
        with pytest.raises(InvalidInput, match=error):
            runner.invoke(
                app, ["train", "embedder", "--catalogue", "shop", *words, *out], catch_exceptions=False
            )


def test_products_are_cut_off_their_ground(tmp_path: Path) -> None:
    photo = drawn(5)
    alpha = segment_product(photo, WholeImage())
    assert alpha is not None
    shown = (photo < 250).any(axis=2)
    assert ((alpha > 127) == shown).mean() > 0.97

    class Seer(WholeImage):
        def detect(self, images: Any) -> list[list[Detection]]:
            mask = np.zeros((10, 10), np.float32)
            mask[:, :5] = 1
            return [[Detection((0.2, 0.2, 0.8, 0.8), "product", 0.9, mask)] for _ in images]

    noisy = np.random.default_rng(0).integers(0, 255, (100, 100, 3), dtype=np.uint8)
    masked = segment_product(noisy, Seer())
    assert masked is not None
    assert masked[50, 30] == 255
    assert masked[50, 70] == 0
    assert masked[5, 5] == 0
    # Nothing to see, nothing to cut.
    assert segment_product(noisy, WholeImage()) is None
    assert segment_product(np.full((50, 50, 3), 255, np.uint8), WholeImage()) is None
    photos = [Photo("a", lambda: photo), Photo("b", lambda: noisy), Photo("a", lambda: drawn(6))]
    assert write_pack(photos, 3, WholeImage(), tmp_path, lambda *_: None) == 2
    names = sorted(path.name for path in (tmp_path / "cutouts").iterdir())
    assert names == ["p0000000-v0.webp", "p0000000-v1.webp"]
    assert Pictures.open(tmp_path / "cutouts" / names[0]).mode == "RGBA"
