"""Real networks in both runtimes: same numbers, any weights, nothing executed, nothing sent."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shared.errors import Misconfigured, Unavailable
from tests.builders import picture
from tests.tiny_models import write_registry, yolo
from worker.vision import Image
from worker.vision.baselines import WholeImage
from worker.vision.building import build_pipeline
from worker.vision.detector import load_detector
from worker.vision.embedder import NetworkEmbedder, load_embedder
from worker.vision.models import CropPlan, ModelFile, find_model
from worker.vision.pipeline import Pipeline
from worker.vision.resnet import RESNETS, ResNetEmbedder
from worker.vision.runtimes import NetworkSource
from worker.vision.runtimes.torch_runtime import TorchRuntime
from worker.vision.yolo_output import suppress

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    return write_registry(tmp_path_factory.mktemp("models"), cache_dir)


@pytest.fixture(scope="module")
def images() -> list[Image]:
    sizes = [(90, 120), (200, 80), (64, 64), (33, 47), (300, 400)]
    return [picture(seed, width, height) for seed, (width, height) in enumerate(sizes)]


@pytest.mark.parametrize("name", ["resnet", "lite"])
def test_both_runtimes_give_the_same_embeddings(
    name: str, models_dir: Path, cache_dir: Path, images: list[Image]
) -> None:
    model = find_model(models_dir, name, "embedder")
    rows = []
    for runtime in ("openvino", "torch"):
        embedder = load_embedder(model, runtime, cache_dir=cache_dir, threads=1)
        crops = [embedder.crop(image, None) for image in images]
        rows.append(embedder.embed(crops))
        # A batch and its images one by one are the same.
        alone = np.concatenate([embedder.embed([crop]) for crop in crops])
        assert np.abs(rows[-1] - alone).max() < 1e-4
        assert embedder.embed([]).shape == (0, 256)
    assert (rows[0] * rows[1]).sum(axis=1).min() > 0.999
    # Not all the same, or the agreement would say nothing.
    assert (rows[0] @ rows[0].T).min() < 0.99


def test_both_runtimes_find_the_same_objects(models_dir: Path, cache_dir: Path, images: list[Image]) -> None:
    model = find_model(models_dir, "default", "detector")
    first, second = (
        load_detector(model, runtime, cache_dir=cache_dir, threads=1).detect(images)
        for runtime in ("openvino", "torch")
    )
    assert sum(map(len, first)) > 0
    for found, other in zip(first, second, strict=True):
        assert len(found) == len(other)
        for one, two in zip(found, other, strict=True):
            assert one.box == pytest.approx(two.box, abs=1e-3)
            assert one.confidence == pytest.approx(two.confidence, abs=1e-3)
            assert one.mask is not None
            assert two.mask is not None
            assert np.abs(one.mask - two.mask).max() < 1e-2
            x0, y0, x1, y1 = one.box
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
            assert one.label == "product"


def test_detections_do_not_depend_on_the_batch(
    models_dir: Path, cache_dir: Path, images: list[Image]
) -> None:
    detector = load_detector(find_model(models_dir, "seer", "detector"), cache_dir=cache_dir, threads=1)
    together = detector.detect(images)
    alone = [detector.detect([image])[0] for image in images]
    assert [[d.box for d in ds] for ds in together] == [
        [pytest.approx(d.box, abs=1e-4) for d in ds] for ds in alone
    ]
    assert detector.detect([]) == []


def test_one_network_answers_at_two_thresholds(
    models_dir: Path, cache_dir: Path, images: list[Image]
) -> None:
    model = find_model(models_dir, "seer", "detector")
    sure = load_detector(model, confidence=0.6, cache_dir=cache_dir, threads=1)
    unsure = sure.with_limits(0.3, 40)
    few, many = sure.detect(images), unsure.detect(images)
    assert sum(map(len, many)) > sum(map(len, few)) > 0
    for one, other in zip(few, many, strict=True):
        found = sorted((d.box for d in other if d.confidence >= 0.6), key=lambda box: box)
        assert found[:10] == sorted((d.box for d in one), key=lambda box: box)[:10] or len(found) > 10


def test_suppression_agrees_with_ultralytics(cache_dir: Path) -> None:
    yolo("yolov8n", 1, cache_dir)  # imports ultralytics, quietly
    from ultralytics.utils.nms import non_max_suppression

    rng = np.random.default_rng(5)
    for _ in range(20):
        centres, sizes = rng.uniform(40, 280, (120, 2)), rng.uniform(20, 90, (120, 2))
        scores = rng.uniform(0.3, 1, 120)
        output = np.concatenate([centres, sizes, scores[:, None]], 1).astype(np.float32)
        boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1).astype(np.float32)
        reference = non_max_suppression(torch.from_numpy(output.T[None].copy()), 0.25, 0.5, agnostic=True)[0]
        kept = boxes[suppress(boxes, scores.astype(np.float32), 0.5)]
        assert np.allclose(kept, reference[:, :4].numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("architecture", "masks"),
    [
        ("yolov5n", False),
        ("yolov8n", False),
        ("yolo11n-seg", True),
        ("yolo26n", False),
        ("yolo26n-seg", True),
    ],
)
def test_any_ultralytics_weights_load_by_path(
    architecture: str, masks: bool, tmp_path: Path, cache_dir: Path, images: list[Image]
) -> None:
    path = tmp_path / f"{architecture}.pt"
    network = yolo(architecture, 3, cache_dir)
    network.names = {0: "chair", 1: "lamp", 2: "table"}
    torch.save({"model": network.half(), "train_args": {}, "epoch": -1}, path)
    detector = load_detector(path, "torch", confidence=0.01, cache_dir=cache_dir)
    found = [d for ds in detector.detect(images[:2]) for d in ds]
    assert found
    assert {d.label for d in found} <= {"chair", "lamp", "table"}
    assert all((d.mask is not None) == masks for d in found)
    assert detector.version.startswith(f"{architecture}@")
    assert detector.version.endswith("+confidence=0.01")


def test_end_to_end_network_in_openvino(tmp_path: Path, cache_dir: Path, images: list[Image]) -> None:
    path = tmp_path / "yolo26n-seg.pt"
    network = yolo("yolo26n-seg", 1, cache_dir)
    network.model[-1].end2end = True
    torch.save({"model": network.half()}, path)
    first, second = (
        load_detector(path, runtime, confidence=0.01, cache_dir=cache_dir).detect(images[:2])
        for runtime in ("openvino", "torch")
    )
    assert sum(map(len, first)) > 0
    assert [[d.box for d in ds] for ds in first] == [
        [pytest.approx(d.box, abs=1e-3) for d in ds] for ds in second
    ]


@pytest.mark.parametrize(("name", "suffix"), [("resnet18", ".pth"), ("resnet50", ".safetensors")])
def test_imagenet_weights_get_a_fixed_projection(
    name: str, suffix: str, tmp_path: Path, cache_dir: Path, images: list[Image]
) -> None:
    torch.manual_seed(1)
    state = ResNetEmbedder(RESNETS[name]).state_dict()
    checkpoint = {k: v for k, v in state.items() if not k.startswith("head.")}
    features = 512 if name == "resnet18" else 2048
    checkpoint |= {"fc.weight": torch.zeros(1000, features), "fc.bias": torch.zeros(1000)}
    path = tmp_path / f"{name}{suffix}"
    if suffix == ".pth":
        torch.save(checkpoint, path)
    else:
        save_file(checkpoint, path)
    rows = []
    for _ in range(2):
        embedder = load_embedder(path, "torch", cache_dir=cache_dir)
        rows.append(embedder.embed([embedder.crop(image, None) for image in images[:2]]))
    assert rows[0].shape == (2, 256)
    assert np.linalg.norm(rows[0], axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (rows[0] == rows[1]).all()


class Burglar:
    """Unpickled, it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.mark, "executed"))


@pytest.mark.parametrize("kind", ["detector", "embedder"])
@pytest.mark.parametrize("protocol", ["torch", "bare pickle"])
def test_pickled_payload_is_refused_and_not_executed(
    kind: str, protocol: str, tmp_path: Path, cache_dir: Path
) -> None:
    mark, path = tmp_path / "mark", tmp_path / ("evil.pt" if kind == "detector" else "evil.pth")
    payload = {"model": Burglar(mark), "conv1.weight": Burglar(mark)}
    if protocol == "torch":
        torch.save(payload, path)
    else:
        path.write_bytes(pickle.dumps(payload))
    load = load_detector if kind == "detector" else load_embedder
    with pytest.raises(Misconfigured, match="Nothing in the file was executed"):
        load(path, "torch", cache_dir=cache_dir)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Burglar(mark)))
    assert mark.exists(), "the payload would not have done anything"


def test_wrong_weights_are_named(tmp_path: Path, cache_dir: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(Misconfigured, match="neither ResNet's nor EfficientNet-Lite's"):
        load_embedder(path, "torch", cache_dir=cache_dir)
    with pytest.raises(Misconfigured, match=r"list it in registry\.json"):
        load_detector(path, "torch", cache_dir=cache_dir)


def test_runtime_and_device_must_fit(models_dir: Path, tmp_path: Path) -> None:
    common = {
        "models_dir": models_dir,
        "detector_name": "none",
        "embedder_name": "lite",
        "cache_dir": tmp_path,
    }
    with pytest.raises(Misconfigured, match="openvino runtime runs on cpu"):
        build_pipeline(**common, runtime="openvino", device="cuda")  # type: ignore[arg-type]
    with pytest.raises(Misconfigured, match="no runtime 'abacus'"):
        build_pipeline(**common, runtime="abacus")  # type: ignore[arg-type]
    if not torch.cuda.is_available():
        with pytest.raises(Misconfigured, match="no CUDA device"):
            build_pipeline(**common, runtime="torch", device="cuda")  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_half_precision_on_cuda_agrees(models_dir: Path, cache_dir: Path, images: list[Image]) -> None:
    model = find_model(models_dir, "resnet", "embedder")
    gpu = load_embedder(model, "torch", "cuda", cache_dir=cache_dir)
    cpu = load_embedder(model, "torch", "cpu", cache_dir=cache_dir)
    crops = [gpu.crop(image, None) for image in images]
    assert (gpu.embed(crops) * cpu.embed(crops)).sum(axis=1).min() > 0.98


class Limited(nn.Module):
    """Says how bright each picture is, and fails with batches of more than two."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 2:
            raise self.error
        return images.float().mean((1, 2))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_device_out_of_memory_halves_the_batch(error: Exception, images: list[Image]) -> None:
    runtime = TorchRuntime(NetworkSource("limited", 32, lambda: Limited(error)), device="cpu", threads=0)
    model = ModelFile(
        name="limited",
        kind="embedder",
        architecture="auto",
        path=Path("none"),
        sha256="0" * 64,
        input_px=32,
        dim=3,
    )
    embedder = NetworkEmbedder(runtime, model, CropPlan())
    found = Pipeline(WholeImage(), embedder).embed_catalogue(images)
    expected = [embedder.embed([embedder.crop(image, None)])[0] for image in images]
    assert np.allclose([each.embedding for (each,) in found], expected)


def test_a_device_that_fails_is_unavailable() -> None:
    source = NetworkSource("limited", 32, lambda: Limited(RuntimeError("device-side assert\ntrace\ntrace")))
    runtime = TorchRuntime(source, device="cpu", threads=0)
    with pytest.raises(Unavailable, match=r"PyTorch failed on cpu: device-side assert$"):
        runtime.infer(np.zeros((3, 32, 32, 3), np.uint8))


PROCESS = """
import json, sys
seen = []
sys.addaudithook(lambda event, args: seen.append([event, repr(args)]) if event in
                 ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname") else None)
from pathlib import Path
import numpy as np
from worker.vision.building import build_pipeline
pipeline = build_pipeline(models_dir=Path(sys.argv[1]), detector_name="seer", embedder_name="lite",
                          cache_dir=Path(sys.argv[2]), threads=1)
rng = np.random.default_rng(4)
query, = pipeline.embed_query([rng.integers(0, 256, (80, 90, 3), dtype=np.uint8)])
print(json.dumps({"sum": float(np.abs(query.embeddings).sum()), "sockets": seen,
                  "torch": "torch" in sys.modules, "versions": pipeline.versions}))
"""


def test_processes_that_start_together_convert_once_and_say_nothing(models_dir: Path, tmp_path: Path) -> None:
    home, cache = tmp_path / "home", tmp_path / "shared-cache"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "ULTRALYTICS", "XDG"))}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROCESS, str(models_dir), str(cache)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    both = [start(), start()]
    answers = [json.loads(process.communicate(timeout=600)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    warm = start()
    answers.append(json.loads(warm.communicate(timeout=600)[0]))
    assert len({answer["sum"] for answer in answers}) == 1
    assert [answer["sockets"] for answer in answers] == [[], [], []]
    # Converted once: the third start needs neither torch nor ultralytics.
    assert [answer["torch"] for answer in answers][-1] is False
    assert sorted(p.suffix for p in (cache / "openvino").iterdir()) == ["", "", ".lock", ".lock"]
    assert list(home.iterdir()) == []


def test_damaged_cache_is_made_again(models_dir: Path, tmp_path: Path, images: list[Image]) -> None:
    model = find_model(models_dir, "lite", "embedder")
    embedder = load_embedder(model, cache_dir=tmp_path, threads=1)
    before = embedder.embed([embedder.crop(images[0], None)])
    (network,) = (tmp_path / "openvino").glob("*/network.xml")
    network.write_text("<net", encoding="utf-8")
    again = load_embedder(model, cache_dir=tmp_path, threads=1)
    assert np.allclose(again.embed([again.crop(images[0], None)]), before)


def test_cache_that_cannot_be_written_is_named(models_dir: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    with pytest.raises(Misconfigured, match="Converted models cannot be stored"):
        load_embedder(find_model(models_dir, "lite", "embedder"), cache_dir=blocked)
