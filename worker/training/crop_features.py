"""Compute features of composed crops with a frozen trunk, cached in small files to resume from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from worker.scenes.composer import Composer
from worker.scenes.cutouts import Cutout
from worker.training.crop_set import CROP_CONFIG, Row, cut_scene
from worker.training.crops import CropSpec, on_white
from worker.vision import Image
from worker.vision.embedder import build_network
from worker.vision.models import ModelFile
from worker.vision.runtimes import NetworkSource, Runtime
from worker.vision.runtimes.openvino_runtime import OpenVinoRuntime
from worker.vision.runtimes.preprocessed import Pooled

Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]

#: Scenes or cut-outs per file.
CHUNK = 40
BATCH = 16


@dataclass(frozen=True)
class Features:
    """Features ``values (N, F) float32``, and the crop of each row."""

    values: Floats
    rows: list[Row]


def open_trunk_runtime(model: ModelFile, trunk: str, cache_dir: Path, threads: int) -> Runtime:
    """Open the trunk of an embedder, from ``(N, S, S, 3) uint8`` to pooled features ``(N, F)``.

    Args:
        trunk: fingerprint of the trunk's weights.
    """
    key = f"pooled {trunk} {model.architecture} {model.mean} {model.std} {model.channels}"
    source = NetworkSource(key, model.input_px, lambda: Pooled(build_network(model), model).eval())
    return OpenVinoRuntime(source, threads=threads, cache_dir=cache_dir)


def crop_spec(model: ModelFile) -> CropSpec:
    """Return how an embedder's crops are cut."""
    fill = (round(model.crop.fill[0]), round(model.crop.fill[1]), round(model.crop.fill[2]))
    # The network takes one view at a time, most often the one with the background.
    mode: Literal["box", "mask"] = "mask" if model.crop.mode == "mask" else "box"
    return CropSpec(mode, fill, model.crop.margin, model.resize, model.input_px)


def crop_features(
    cutouts: Sequence[Cutout],
    backgrounds: Sequence[Path],
    scenes: int,
    spec: CropSpec,
    trunk: Runtime,
    folder: Path,
    progress: Progress,
) -> Features:
    """Compute the features of clean and composed crops, or read those of an earlier run.

    Args:
        cutouts: each has one clean crop; every scene contains the next one, and up to two others.
        scenes: number of composed photographs.
        folder: cache of these cut-outs, backgrounds and trunk only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    composer = Composer(cutouts, backgrounds, CROP_CONFIG)
    clean = [list(range(i, min(i + CHUNK, len(cutouts)))) for i in range(0, len(cutouts), CHUNK)]
    composed = [list(range(i, min(i + CHUNK, scenes))) for i in range(0, scenes, CHUNK)]
    jobs = [("clean", part) for part in clean] + [("scenes", part) for part in composed]
    parts = []
    for done, (kind, numbers) in enumerate(jobs, 1):
        path = folder / f"{kind}-{numbers[0]:06}.npz"
        if kind == "clean":
            crops = _generate_clean(cutouts, numbers, spec)
        else:
            crops = _generate_composed(composer, cutouts, numbers, spec)
        parts.append(read_or_compute(path, crops, trunk))
        progress(f"crops in {folder.name}", min(done * CHUNK, len(jobs) * CHUNK), len(jobs) * CHUNK)
    values = np.concatenate([values for values, _ in parts])
    return Features(values, [row for _, rows in parts for row in rows])


def read_or_compute(
    path: Path, crops: Iterator[tuple[Row, Image]], trunk: Runtime
) -> tuple[Floats, list[Row]]:
    """Read the features at ``path``; if the file is missing, compute and write them first.

    Args:
        crops: consumed only if the file is missing.
    """
    if not path.exists():
        _write(path, list(crops), trunk)
    return _read(path)


def calibration_crops(
    cutouts: Sequence[Cutout], backgrounds: Sequence[Path], count: int, spec: CropSpec
) -> list[Image]:
    """Return composed and clean crops, half of each, to calibrate the INT8 form."""
    composer = Composer(cutouts, backgrounds, CROP_CONFIG)
    step = max(1, len(cutouts) // (count // 2))
    clean = (crop for _, crop in _generate_clean(cutouts, range(0, len(cutouts), step), spec))
    crops = list(islice(clean, count // 2))
    composed = (crop for _, crop in _generate_composed(composer, cutouts, range(count), spec))
    crops += islice(composed, count - len(crops))
    return crops


def _generate_clean(
    cutouts: Sequence[Cutout], numbers: Sequence[int], spec: CropSpec
) -> Iterator[tuple[Row, Image]]:
    for number in numbers:
        cutout = cutouts[number]
        rgba = np.array(Pictures.open(cutout.path).convert("RGBA"))
        yield Row(cutout.product_id, cutout.path.stem, "clean"), on_white(rgba, spec)


def _generate_composed(
    composer: Composer, cutouts: Sequence[Cutout], numbers: Sequence[int], spec: CropSpec
) -> Iterator[tuple[Row, Image]]:
    for number in numbers:
        rng = np.random.default_rng([23, number])
        order = rng.permutation(len(cutouts))[: int(rng.integers(1, 4))]
        chosen = [cutouts[i] for i in order[1:]] + [cutouts[number % len(cutouts)]]
        for row, crop in cut_scene(composer, [23, number], chosen, spec):
            if row.kind == spec.mode:
                yield row, crop


def _write(path: Path, labelled: list[tuple[Row, Image]], trunk: Runtime) -> None:
    crops = [crop for _, crop in labelled]
    values = [trunk.infer(np.stack(crops[i : i + BATCH]))[0] for i in range(0, len(crops), BATCH)]
    rows = json.dumps([row.__dict__ for row, _ in labelled])
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        np.savez(file, values=np.concatenate(values) if values else np.zeros((0, 0), np.float32), rows=rows)
    fresh.replace(path)


def _read(path: Path) -> tuple[Floats, list[Row]]:
    with np.load(path) as arrays:
        return arrays["values"], [Row(**row) for row in json.loads(str(arrays["rows"]))]
