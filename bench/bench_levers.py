"""Measure the cost of each part of a query's embedding: processor milliseconds per photo.

    python bench/bench_levers.py --set VAL [--photos 60] [--rounds 5]

`VAL` is a labelled set with photographs, such as `python -m training.validation_set` writes. The ways of
embedding alternate over the same photographs, one at a time; the best time of each photograph counts. Results
are written to bench/results/levers.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from bench.common import machine, write_results  # noqa: E402
from worker.evaluation.dataset import read_set  # noqa: E402
from worker.evaluation.run import load_image  # noqa: E402
from worker.vision.building import build_pipeline  # noqa: E402
from worker.vision.detector import CONFIDENCE  # noqa: E402
from worker.vision.models import CropMode  # noqa: E402
from worker.vision.pipeline import Pipeline  # noqa: E402

BOX, COLOUR = "embedder-efficientnet-lite0-256", "embedder-efficientnet-lite0-400"
#: Embedder, crop mode and minimum confidence of objects; each way adds one feature.
WAYS: dict[str, tuple[str, CropMode, float]] = {
    "box": (BOX, "box", CONFIDENCE),
    "both": (BOX, "both", CONFIDENCE),
    "both_colour": (COLOUR, "both", CONFIDENCE),
    "both_colour_doubtful": (COLOUR, "both", 0.10),
}


def open_ways(models: Path, threads: int, cache: Path) -> dict[str, Pipeline]:
    """Load the pipeline of each way."""
    return {
        way: build_pipeline(
            models_dir=models,
            detector_name="default",
            embedder_name=embedder,
            cache_dir=cache,
            threads=threads,
            crop=crop,
            query_confidence=confidence,
        )
        for way, (embedder, crop, confidence) in WAYS.items()
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure milliseconds and objects per photo, under flat keys."""
    paths = [photograph.path for photograph in read_set(args.set).photographs]
    images = [load_image(path) for path in paths[:: max(1, len(paths) // args.photos)][: args.photos]]
    results: dict[str, Any] = {"photos": len(images)}
    with tempfile.TemporaryDirectory() as folder:
        ways = open_ways(args.models, args.threads, Path(folder))
        cpu = {way: np.full(len(images), np.inf) for way in ways}
        wall = {way: np.full(len(images), np.inf) for way in ways}
        objects: dict[str, list[int]] = {way: [] for way in ways}
        for round_ in range(args.rounds + 1):
            for way, pipeline in ways.items():
                for number, image in enumerate(images):
                    began, worked = time.perf_counter(), time.process_time()
                    (found,) = pipeline.embed_query([image])
                    spent = 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - worked)
                    if round_:  # the first one warms up
                        wall[way][number] = min(wall[way][number], spent[0])
                        cpu[way][number] = min(cpu[way][number], spent[1])
                    else:
                        objects[way].append(len(found.objects))
        for way in ways:
            results[f"{way}_cpu_ms"] = round(float(cpu[way].mean()), 2)
            results[f"{way}_wall_ms"] = round(float(wall[way].mean()), 2)
            results[f"{way}_objects_a_photo"] = round(float(np.mean(objects[way])), 2)
    return results


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    results = {**machine(), "threads": args.threads, **measure(args)}
    write_results(ROOT / "bench" / "results" / "levers.json", results)


if __name__ == "__main__":
    main()
