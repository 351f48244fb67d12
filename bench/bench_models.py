"""Pictures a second of detector and embedder in OpenVINO, against eager PyTorch in the same run.

    python bench/pipeline.py --images DIR [--models models] [--threads 2] [--batches 1,8,16]

The two take turns in short slices, so that whatever else the machine does falls on both alike. Results go
to bench/results/pipeline.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from shared.images import ImageLimits, decode
from worker.detector import load_detector
from worker.embedder import load_embedder
from worker.models import find_model
from worker.runtimes import RuntimeName
from worker.vision import Image

RUNTIMES: tuple[RuntimeName, ...] = ("openvino", "torch")
SLICE_S = 2.0
ROUNDS = 4


def rates(calls: dict[str, Callable[[], object]], pictures: int) -> dict[str, float]:
    """Pictures a second of each call, which handles so many pictures; the best of its slices."""
    best = dict.fromkeys(calls, 0.0)
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            done, began = 0, time.perf_counter()
            while (spent := time.perf_counter() - began) < SLICE_S:
                call()
                done += pictures
            best[name] = max(best[name], done / spent)
    return best


def measure(models: Path, images: Sequence[Image], threads: int, batches: Sequence[int]) -> dict[str, float]:
    """Rates and ratios under flat keys."""
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        detector = find_model(models, "default", "detector")
        embedder = find_model(models, "default", "embedder")
        detectors = {r: load_detector(detector, r, cache_dir=cache, threads=threads) for r in RUNTIMES}
        embedders = {r: load_embedder(embedder, r, cache_dir=cache, threads=threads) for r in RUNTIMES}
        crops = [embedders["torch"].crop(image, None) for image in images]
        rows = [embedders[r].embed(crops[:8]) for r in RUNTIMES]
        results["embedder_parity_least_cosine"] = float((rows[0] * rows[1]).sum(axis=1).min())
        for size in batches:
            some, few = images[:size], crops[:size]
            calls = {
                "detector": {r: lambda d=detectors[r], s=some: d.detect(s) for r in RUNTIMES},
                "embedder": {r: lambda e=embedders[r], f=few: e.embed(f) for r in RUNTIMES},
            }
            for part, each in calls.items():
                found = rates(each, size)
                for runtime, rate in found.items():
                    results[f"{part}_{runtime}_batch{size}_images_per_s"] = round(rate, 2)
                results[f"{part}_batch{size}_openvino_over_torch_ratio"] = round(
                    found["openvino"] / found["torch"], 2
                )
    return results


def main() -> None:
    """Measure, print and keep the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEG photographs")
    parser.add_argument("--models", type=Path, default=Path(__file__).parent.parent / "models")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batches", default="1,8,16")
    args = parser.parse_args()
    sizes = [int(size) for size in args.batches.split(",")]
    paths = sorted(args.images.glob("*.jpg"))[: max(sizes)]
    images = [decode(path.read_bytes(), ImageLimits()) for path in paths]
    results: dict[str, object] = {
        "cpu": platform.processor() or platform.machine(),
        "threads": args.threads,
        "numpy": np.__version__,
        **measure(args.models, images, args.threads, sizes),
    }
    out = Path(__file__).parent / "results" / "pipeline.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
