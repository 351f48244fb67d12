"""Ship trained weights as a model: in half precision, checked, hashed, registered.

    python -m worker.training.ship --models DIR --entry entry.json --weights FILE [--check DIR]

`entry.json` is the registry's entry without its `file` and `sha256`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from worker.training.crop_set import load
from worker.training.trunks import PREPROCESS, open_trunk, run

MIN_COSINE: Final = 0.9999
CHECKED_CROPS: Final = 64
DEFAULT_CONFIDENCE: Final = 0.25  # as in worker/vision/detector.py


def load_halved(weights: Path) -> dict[str, Tensor]:
    """Load a state dict with its floats in float16.

    Raises:
        ValueError: a value is too large for half precision.
    """
    state = load_file(weights)
    halved = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    for name, value in halved.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} does not fit half precision")
    return halved


def move_confidence(state: dict[str, Tensor], threshold: float) -> None:
    """Shift a YOLO's class biases so that confidence `threshold` becomes the default, 0.25.

    The best threshold differs between trainings, and settings should not depend on it.
    """
    shift = math.log(DEFAULT_CONFIDENCE / (1 - DEFAULT_CONFIDENCE)) - math.log(threshold / (1 - threshold))
    biases = [name for name in state if re.fullmatch(r"model\.\d+\.cv3\.\d\.2\.bias", name)]
    if not biases:
        raise ValueError("this state dict has no class biases of a YOLOv8 head")
    for name in biases:
        state[name] = (state[name].float() + shift).to(state[name].dtype)


def min_cosine(architecture: str, first: Path, second: Path, crops: Any) -> float:
    """Return the lowest cosine of two weight files' embeddings of crops (N, H, W, 3) uint8."""
    prepare = PREPROCESS[architecture]
    one, two = (run(open_trunk(architecture, path), prepare, crops) for path in (first, second))
    return float(np.min(np.sum(one * two, 1)))


def register(models: Path, entry: dict[str, Any]) -> None:
    """Write an entry into registry.json; it replaces the entry of its name, or is appended."""
    path = models / "registry.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["models"] if path.exists() else []
    names = [e["name"] for e in entries]
    if entry["name"] in names:
        entries[names.index(entry["name"])] = entry
    else:
        entries.append(entry)
    path.write_text(json.dumps({"models": entries}, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, ship and check."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of registry.json")
    parser.add_argument("--entry", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors in float32")
    parser.add_argument("--check", type=Path, help="crop set on which both precisions must agree")
    parser.add_argument("--confidence", type=float, help="the detector's best threshold, which becomes 0.25")
    args = parser.parse_args(argv)
    entry = json.loads(args.entry.read_text(encoding="utf-8"))
    file = args.models / f"{entry['name']}.safetensors"
    args.models.mkdir(parents=True, exist_ok=True)
    state = load_halved(args.weights)
    if args.confidence is not None:
        move_confidence(state, args.confidence)
    save_file(state, file)
    file.chmod(0o644)
    if args.check is not None:
        crops = np.asarray(load(args.check)[0][:CHECKED_CROPS])
        cosine = min_cosine(entry["architecture"], args.weights, file, crops)
        print(f"minimum cosine between float32 and float16: {cosine:.6f}", flush=True)
        if cosine < MIN_COSINE:
            raise SystemExit(f"half precision changes the embeddings too much: cosine {cosine:.6f}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    register(args.models, {**entry, "file": file.name, "sha256": digest})
    print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB, sha256 {digest}", flush=True)


if __name__ == "__main__":
    main()
