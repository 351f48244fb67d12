"""Write the INT8 forms of shipped models, calibrated on catalogue pictures and composed photographs.

    python -m worker.training.quantise --models DIR --data DIR [--name NAME ...]

It uses training products and backgrounds only. The same files give the same form.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from worker.scenes.composer import Composer, ComposerConfig
from worker.scenes.cutouts import list_backgrounds, list_cutouts
from worker.training.crops import jitter_box
from worker.training.ship import register
from worker.vision import Detection, Image
from worker.vision.crops import LETTERBOX_GREY, cut_out, fit_into_square
from worker.vision.detector import detector_source
from worker.vision.embedder import embedder_source, load_embedder
from worker.vision.models import ModelFile, list_models
from worker.vision.runtimes.quantise import quantise, write_form

#: Pictures for calibration, and to compare both precisions.
PICTURES = 240
CHECKED = 48
SEED = 41


def photographs(data: Path, count: int, side_px: int, seed: int) -> list[tuple[Image, list[Detection]]]:
    """Compose photographs, one of four on white; return them with their objects."""
    config = ComposerConfig(size_px=side_px, scale=(0.25, 0.95), catalogue=0.25, wallpaper=0.1, empty=0.0)
    composer = Composer(list_cutouts(data, held_out=False), list_backgrounds(data, held_out=False), config)
    found = []
    for number in range(count):
        scene = composer.compose((seed, number))
        rng = np.random.default_rng([seed, number, 1])
        height, width = scene.image.shape[:2]
        frame = np.array([width, height, width, height], np.float32)
        boxes = [np.clip(jitter_box(rng, box, 0.03) / frame, 0, 1) for box in scene.boxes]
        objects = [
            Detection((float(a), float(b), float(c), float(d)), "product", 1.0) for a, b, c, d in boxes
        ]
        found.append((scene.image, objects))
    return found


def network_inputs(model: ModelFile, scenes: Sequence[tuple[Image, list[Detection]]]) -> list[Image]:
    """Return the network's input for each photograph."""
    if model.kind == "detector":
        return [fit_into_square(image, model.input_px, LETTERBOX_GREY)[0] for image, _ in scenes]
    return [
        cut_out(image, objects[0] if objects else None, model.input_px, model.crop, model.resize)
        for image, objects in scenes
    ]


def write_int8_form(
    models: Path, model: ModelFile, pictures: Sequence[Image], cache_dir: Path
) -> dict[str, Any]:
    """Quantise a model and register the form; return the form's entry."""
    if model.kind == "embedder":
        source, end_to_end = embedder_source(model), False
    else:
        source, facts = detector_source(model, cache_dir)
        end_to_end = facts.read()[1]
    form = write_form(
        quantise(replace(source, int8=None), model.architecture, pictures),
        models,
        model.name,
        model.sha256,
        end_to_end,
    )
    entries = json.loads((models / "registry.json").read_text(encoding="utf-8"))["models"]
    entry = next(entry for entry in entries if entry["name"] == model.name)
    register(models, {**entry, "int8": form})
    return form


def min_cosine(model: ModelFile, pictures: Sequence[Image], cache_dir: Path) -> tuple[float, float]:
    """Return the lowest and the mean cosine between an embedder's INT8 and FP32 embeddings of crops.

    Only the network is compared: one view of each object, without colours.
    """
    network, plan = model.model_copy(update={"colour": None}), model.crop.model_copy(update={"mode": "box"})
    both = [
        load_embedder(network, cache_dir=cache_dir, precision=precision, plan=plan).embed(pictures)
        for precision in ("int8", "fp32")
    ]
    cosines = (both[0] * both[1]).sum(axis=1)
    return float(cosines.min()), float(cosines.mean())


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, quantise and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of registry.json")
    parser.add_argument("--data", type=Path, required=True, help="products/, cutouts/ and backgrounds/")
    parser.add_argument("--name", action="append", help="only these models; by default all")
    args = parser.parse_args(argv)
    scenes = photographs(args.data, PICTURES + CHECKED, 448, SEED)
    with tempfile.TemporaryDirectory() as folder:
        for model in list_models(args.models):
            if args.name and model.name not in args.name:
                continue
            began = time.monotonic()
            pictures = network_inputs(model, scenes)
            write_int8_form(args.models, model, pictures[:PICTURES], Path(folder))
            line = f"{model.name}: INT8 in {time.monotonic() - began:.0f} s"
            if model.kind == "embedder":
                quantised = next(m for m in list_models(args.models) if m.name == model.name)
                low, mean = min_cosine(quantised, pictures[PICTURES:], Path(folder))
                line += f", cosine to FP32 at least {low:.4f}, mean {mean:.4f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
