"""The quantised form: as good as single precision on the shipped weights, verified, and never a surprise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.errors import Misconfigured
from shared.images import CATALOGUE_FORMATS, ImageLimits, decode
from tests.builders import picture
from tests.tiny_models import write_registry
from worker.training.quantise import min_cosine, write_int8_form
from worker.vision import Image
from worker.vision.crops import overlap, to_boxes
from worker.vision.detector import load_detector
from worker.vision.embedder import load_embedder
from worker.vision.models import ColourPlan, CropPlan, embedding_space, find_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "models"


@pytest.fixture(scope="module")
def photos() -> list[Image]:
    paths = sorted((ROOT / "demo" / "images").iterdir())[::80]
    limits = ImageLimits(formats=CATALOGUE_FORMATS)
    return [decode(path.read_bytes(), limits) for path in paths][:16]


@pytest.mark.parametrize("name", ["default", "embedder-efficientnet-lite0-400"])
def test_shipped_embedder_agrees_in_every_precision(name: str, photos: list[Image], tmp_path: Path) -> None:
    model = find_model(SHIPPED, name, "embedder")
    int8 = load_embedder(model, cache_dir=tmp_path)
    crops = [int8.crop(photo, None) for photo in photos]
    # What ships starts without a conversion.
    assert not (tmp_path / "openvino").exists()
    single = load_embedder(model, cache_dir=tmp_path, precision="fp32")
    reference = load_embedder(model, "torch", cache_dir=tmp_path)
    rows = [embedder.embed(crops) for embedder in (int8, single, reference)]
    assert (rows[1] * rows[2]).sum(axis=1).min() > 0.999
    assert (rows[0] * rows[1]).sum(axis=1).min() > 0.98
    # Different pictures are far apart, or agreement would say nothing.
    assert np.median(rows[0] @ rows[0].T) < 0.8
    views = "box" if name == "default" else "lab4x6x6w0.2+both"
    assert int8.version == f"{model.version}+int8+{views}"
    assert single.version == reference.version == f"{model.version}+{views}"
    assert int8.dim == len(rows[0][0]) == (256 if name == "default" else 400)
    assert embedding_space(int8.version) == embedding_space(single.version) == single.version


def test_shipped_detector_finds_the_same_in_every_precision(photos: list[Image], tmp_path: Path) -> None:
    model = find_model(SHIPPED, "default", "detector")
    found = {
        "int8": load_detector(model, cache_dir=tmp_path, precision="int8").detect(photos),
        "fp32": load_detector(model, cache_dir=tmp_path, precision="fp32").detect(photos),
        "torch": load_detector(model, "torch", cache_dir=tmp_path).detect(photos),
    }
    for single, reference in zip(found["fp32"], found["torch"], strict=True):
        assert len(single) == len(reference)
        for one, two in zip(single, reference, strict=True):
            assert one.box == pytest.approx(two.box, abs=1e-3)
            assert one.confidence == pytest.approx(two.confidence, abs=1e-3)
    tops = [(q, s) for q, s in zip(found["int8"], found["fp32"], strict=True) if s]
    assert len(tops) > len(photos) // 2
    overlaps = [float(overlap(to_boxes(s[:1]), to_boxes(q)).max(initial=0)) for q, s in tops]
    assert np.mean(np.array(overlaps) > 0.9) > 0.8


#: Prints what kind of code runs the convolutions of the shipped detector in INT8.
_KINDS = """
import sys
from pathlib import Path
from worker.vision.runtimes.openvino_runtime import load_openvino
core = load_openvino().Core()
compiled = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
print(*{op.get_rt_info()["primitiveType"].astype(str) for op in compiled.get_runtime_model().get_ops()})
"""


@pytest.mark.skipif("amx_int8" not in Path("/proc/cpuinfo").read_text(), reason="no AMX on this machine")
def test_amx_is_left_alone_unless_somebody_asks_for_it() -> None:
    """It makes networks as narrow as these slower."""
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}

    def kinds(**asked: str) -> str:
        argv: list[str | Path] = [sys.executable, "-c", _KINDS, SHIPPED / "detector-yolov8n-seg-320-int8.xml"]
        found = subprocess.run(argv, cwd=ROOT, env=environment | asked, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return found.stdout

    assert "amx" not in kinds()
    assert "amx" in kinds(ONEDNN_MAX_CPU_ISA="ALL")


def test_a_form_is_made_read_and_checked(tmp_path: Path) -> None:
    models, cache = write_registry(tmp_path / "models", tmp_path / "cache"), tmp_path / "cache"
    images = [picture(seed, 64, 64) for seed in range(8)]
    model = find_model(models, "lite", "embedder")
    assert model.int8 is None
    with pytest.raises(Misconfigured, match="has no INT8 form"):
        load_embedder(model, cache_dir=cache, precision="int8")
    form = write_int8_form(models, model, images, cache)
    quantised = find_model(models, "lite", "embedder")
    rows = [
        load_embedder(quantised, cache_dir=cache, precision=precision).embed(images)
        for precision in ("auto", "fp32")
    ]
    assert not np.allclose(rows[0], rows[1], atol=1e-6), "nothing was quantised"
    both = quantised.model_copy(update={"colour": ColourPlan(), "crop": CropPlan(mode="both")})
    assert min_cosine(both, images, cache) == min_cosine(quantised, images, cache)
    with pytest.raises(Misconfigured, match="has no INT8 form"):
        load_embedder(quantised, "torch", cache_dir=cache, precision="int8")

    numbers = models / form["numbers"]
    content = numbers.read_bytes()
    numbers.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Misconfigured, match="SHA-256"):
        load_embedder(quantised, cache_dir=cache)
    numbers.unlink()
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_embedder(quantised, cache_dir=cache)


def test_a_form_of_other_weights_is_left_alone(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "models")
    registry = tmp_path / "models" / "registry.json"
    entries = json.loads(registry.read_text(encoding="utf-8"))
    chosen = next(entry for entry in entries["models"] if entry["kind"] == "embedder")
    assert find_model(tmp_path / "models", chosen["name"], "embedder").int8 is not None
    chosen["int8"]["of"] = "0" * 64
    registry.write_text(json.dumps(entries), encoding="utf-8")
    assert find_model(tmp_path / "models", chosen["name"], "embedder").int8 is None
    chosen["int8"] |= {"of": chosen["sha256"], "graph": "../../secret.xml"}
    registry.write_text(json.dumps(entries), encoding="utf-8")
    with pytest.raises(Misconfigured, match="outside of"):
        find_model(tmp_path / "models", chosen["name"], "embedder")
