"""Load and run YOLO detectors; imports ultralytics only where no converted network is cached."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.errors import Misconfigured
from worker.vision import Detection, Image
from worker.vision.crops import LETTERBOX_GREY, fit_into_square
from worker.vision.models import ModelFile, find_model
from worker.vision.runtimes import (
    NetworkSource,
    PrecisionChoice,
    Runtime,
    RuntimeName,
    first_line,
    open_runtime,
)
from worker.vision.yolo_output import Frame, OutputPlan, read_output

if TYPE_CHECKING:
    from torch import nn

CONFIDENCE = 0.25
IOU = 0.5
MAX_OBJECTS = 10


class YoloDetector:
    """Finds objects with a YOLO network, with masks where the network has them."""

    def __init__(self, runtime: Runtime, model: ModelFile, plan: OutputPlan) -> None:
        self._runtime = runtime
        self._model = model
        self._side_px = model.input_px
        self._plan = plan
        changed = [
            f"{name}={value:g}"
            for name, value, default in (
                ("confidence", plan.confidence, CONFIDENCE),
                ("iou", plan.iou, IOU),
            )
            if value != default
        ]
        precision = [] if runtime.precision == "fp32" else [runtime.precision]
        self._version = "+".join([model.version, *precision, *changed])

    @property
    def version(self) -> str:
        """Return name and hash of the weights, precision, and thresholds that are not the default."""
        return self._version

    def with_limits(self, confidence: float, max_objects: int) -> YoloDetector:
        """Return a detector on the same network with other limits.

        Args:
            confidence: minimum confidence of a detection.
            max_objects: maximum number of detections per image.
        """
        plan = replace(self._plan, confidence=confidence, max_objects=max_objects)
        return YoloDetector(self._runtime, self._model, plan)

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the detections of each image, most prominent first (``yolo_output.prominence``).

        Args:
            images: ``(H, W, 3) uint8`` each, of any sizes; they are run as one batch.

        Raises:
            MemoryError: the device has no room for a batch of this size.
            Unavailable: the device failed otherwise.
        """
        if not images:
            return []
        squares, frames = [], []
        for image in images:
            square, placement = fit_into_square(image, self._side_px, LETTERBOX_GREY)
            squares.append(square)
            frames.append(Frame(image.shape[1], image.shape[0], placement, self._side_px))
        outputs = self._runtime.infer(np.stack(squares))
        prototypes = outputs[1] if len(outputs) > 1 else [None] * len(frames)
        return [read_output(*each, self._plan) for each in zip(outputs[0], prototypes, frames, strict=True)]


def load_detector(
    model: ModelFile | Path,
    runtime: RuntimeName = "openvino",
    device: str = "cpu",
    confidence: float = CONFIDENCE,
    iou: float = IOU,
    max_objects: int = MAX_OBJECTS,
    *,
    cache_dir: Path,
    threads: int = 0,
    precision: PrecisionChoice = "auto",
) -> YoloDetector:
    """Load a detector.

    Args:
        model: a model of the registry, or the path of ultralytics weights (v5u, v8, 11, 26; detect or
            segment).
        confidence: minimum confidence of a detection.
        iou: maximum IoU of two objects; of those that overlap more, the less confident one is dropped.
        max_objects: maximum number of detections per image.
        cache_dir: for converted networks and ultralytics' own settings.
        threads: inference threads; 0 for one per core.
        precision: see ``open_runtime``.

    Raises:
        Misconfigured: the weights are missing, damaged, not YOLO, or hold more than weights.
    """
    if isinstance(model, Path):
        model = find_model(model.parent, str(model.absolute()), "detector")
    source, facts = detector_source(model, cache_dir)
    opened = open_runtime(
        runtime, source, device=device, threads=threads, cache_dir=cache_dir, precision=precision
    )
    if opened.precision == "int8" and model.int8 is not None:
        labels, end_to_end = model.classes, model.int8.end_to_end
    else:
        labels, end_to_end = facts.read()
    plan = OutputPlan(labels, end_to_end, confidence, iou, max_objects)
    return YoloDetector(opened, model, plan)


def detector_source(model: ModelFile, cache_dir: Path) -> tuple[NetworkSource, DetectorFacts]:
    """Return the network of a detector, which is built when it is needed, and its facts."""
    key = f"{model.sha256} {model.architecture} {model.classes} {model.mean} {model.std} {model.channels}"
    facts = DetectorFacts(model, key, cache_dir)
    form = model.int8
    int8 = None if form is None else lambda: form.read(model.name)
    return NetworkSource(key, model.input_px, facts.build, int8), facts


class DetectorFacts:
    """Builds the network, and caches facts that only the torch module has."""

    def __init__(self, model: ModelFile, key: str, cache_dir: Path) -> None:
        self._model = model
        self._cache_dir = cache_dir
        self._path = cache_dir / "detectors" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"

    def build(self) -> nn.Module:
        """Build the torch module, preprocessing included."""
        from worker.vision.runtimes.preprocessed import Preprocessed

        network = _build_yolo(self._model, self._cache_dir)
        self._cache(network)
        return Preprocessed(network, self._model).eval()

    def read(self) -> tuple[tuple[str, ...], bool]:
        """Return the labels, and whether the network suppresses overlaps itself."""
        if not self._path.exists():
            self._cache(_build_yolo(self._model, self._cache_dir))
        facts = json.loads(self._path.read_text(encoding="utf-8"))
        return tuple(facts["labels"]), bool(facts["end_to_end"])

    def _cache(self, network: Any) -> None:
        names = network.names
        labels = (
            self._model.classes if self._model.architecture != "auto" else [names[i] for i in sorted(names)]
        )
        facts = {"labels": list(labels), "end_to_end": bool(network.model[-1].end2end)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(facts), encoding="utf-8")
        fresh.replace(self._path)


def _ultralytics(cache_dir: Path) -> Any:
    """Import ultralytics' models, quiet, offline, and with its settings in the cache folder."""
    os.environ.update(
        YOLO_OFFLINE="true",
        YOLO_AUTOINSTALL="false",
        YOLO_VERBOSE="false",
        ULTRALYTICS_SAFE_LOAD="true",
        YOLO_CONFIG_DIR=str(cache_dir / "ultralytics"),
    )
    (cache_dir / "ultralytics").mkdir(parents=True, exist_ok=True)
    tasks = importlib.import_module("ultralytics.nn.tasks")
    importlib.import_module("ultralytics.utils").SETTINGS.update(sync=False)
    return tasks


def _build_yolo(model: ModelFile, cache_dir: Path) -> Any:
    """Build the torch network of a model, in evaluation mode, with a head that returns plain tensors."""
    tasks = _ultralytics(cache_dir)
    try:
        if model.path.suffix == ".safetensors":
            network = _from_state(model, tasks)
        else:
            model.read()
            # safe_only: unpickle tensors and ultralytics' own layers only.
            checkpoint, _ = tasks.torch_safe_load(str(model.path), safe_only=True)
            network = checkpoint.get("ema") or checkpoint["model"]
        head = network.float().eval().model[-1]
        if not isinstance(head, tasks.Detect):
            raise TypeError(f"its last layer is {type(head).__name__}, not a detection head")
    except (TypeError, KeyError, ValueError, AttributeError, RuntimeError, pickle.UnpicklingError) as error:
        raise Misconfigured(
            f"The weights of {model.name} cannot be loaded as a YOLO detector: {first_line(error)}. Nothing "
            "in the file was executed. Give weights that ultralytics saved, for detect or segment."
        ) from error
    network.fuse(verbose=False)
    network.requires_grad_(False)
    head.export = True
    return network


def _from_state(model: ModelFile, tasks: Any) -> Any:
    from safetensors.torch import load

    if model.architecture == "auto":
        raise ValueError("a .safetensors file does not name its YOLO architecture: list it in registry.json")
    kind = tasks.SegmentationModel if model.architecture.endswith("-seg") else tasks.DetectionModel
    network = kind(f"{model.architecture}.yaml", nc=len(model.classes), verbose=False)
    network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in load(model.read()).items()}
    )
    return network
