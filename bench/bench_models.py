"""Measure images per second of detector and embedder in OpenVINO INT8 and FP32, and in eager PyTorch.

    python bench/bench_models.py [--images demo/images] [--threads 2] [--batches 1,4,8,16,32]

All have the same number of threads and alternate in short slices, so that other work on the machine slows all
equally; the best slice counts. On a busy machine the ratios of processor time (`_cpu_ratio`) are more
reliable. A ratio without a batch in its name is the lowest of all batch sizes. Results are written to
bench/results/models.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import machine, write_results  # noqa: E402
from shared.images import CATALOGUE_FORMATS, ImageLimits, decode  # noqa: E402
from worker.vision import Image  # noqa: E402
from worker.vision.detector import load_detector  # noqa: E402
from worker.vision.embedder import load_embedder  # noqa: E402
from worker.vision.models import find_model  # noqa: E402
from worker.vision.runtimes import PrecisionChoice, RuntimeName  # noqa: E402

FORMS: dict[str, tuple[RuntimeName, PrecisionChoice]] = {
    "int8": ("openvino", "int8"),
    "fp32": ("openvino", "fp32"),
    "torch": ("torch", "fp32"),
}


def measure_rates(
    calls: dict[str, Callable[[], object]], images: int, rounds: int, slice_s: float
) -> dict[str, tuple[float, float]]:
    """Return images per second, and per second of processor time, of each call on ``images`` images."""
    best = dict.fromkeys(calls, (0.0, 0.0))
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            done, began, worked = 0, time.perf_counter(), time.process_time()
            while (spent := time.perf_counter() - began) < slice_s or not done:
                call()
                done += images
            busy = time.process_time() - worked
            best[name] = max(best[name][0], done / spent), max(best[name][1], done / busy)
    return best


def measure(args: argparse.Namespace, images: Sequence[Image], batches: Sequence[int]) -> dict[str, object]:
    """Measure rates and ratios under flat keys."""
    results: dict[str, object] = {}
    lowest: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        common = {"cache_dir": Path(folder), "threads": args.threads}
        detector = find_model(args.models, args.detector, "detector")
        embedder = find_model(args.models, args.embedder, "embedder")
        detectors = {k: load_detector(detector, r, precision=p, **common) for k, (r, p) in FORMS.items()}
        embedders = {k: load_embedder(embedder, r, precision=p, **common) for k, (r, p) in FORMS.items()}
        crops = [embedders["torch"].crop(image, None) for image in images]
        rows = {k: e.embed(crops) for k, e in embedders.items()}
        results["embedder_fp32_torch_least_cosine"] = float((rows["fp32"] * rows["torch"]).sum(axis=1).min())
        results["embedder_int8_fp32_least_cosine"] = float((rows["int8"] * rows["fp32"]).sum(axis=1).min())
        results["detector"], results["embedder"] = detectors["int8"].version, embedders["int8"].version
        for size in batches:
            batch_images, batch_crops = images[:size], crops[:size]
            parts: dict[str, dict[str, Callable[[], object]]] = {
                "detector": {k: partial(d.detect, batch_images) for k, d in detectors.items()},
                "embedder": {k: partial(e.embed, batch_crops) for k, e in embedders.items()},
            }
            for part, calls in parts.items():
                found = measure_rates(calls, size, args.rounds, args.slice_s)
                for form, (rate, _) in found.items():
                    results[f"{part}_{form}_batch{size}_images_per_s"] = round(rate, 1)
                for form in ("int8", "fp32"):
                    for number, unit in enumerate(("", "cpu_")):
                        ratio = found[form][number] / found["torch"][number]
                        results[f"{part}_{form}_batch{size}_over_torch_{unit}ratio"] = round(ratio, 2)
                        key = f"{part}_{form}_over_torch_{unit}ratio"
                        lowest[key] = min(lowest.get(key, ratio), ratio)
                print(part, size, found, file=sys.stderr, flush=True)
    return results | {key: round(value, 2) for key, value in lowest.items()}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, default=ROOT / "demo" / "images")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--detector", default="default")
    parser.add_argument("--embedder", default="default")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batches", default="1,4,8,16,32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice-s", type=float, default=1.0)
    args = parser.parse_args()
    sizes = [int(size) for size in args.batches.split(",")]
    paths = sorted(path for path in args.images.iterdir() if path.suffix in (".jpg", ".webp", ".png"))
    limits = ImageLimits(formats=CATALOGUE_FORMATS)
    step = max(1, len(paths) // max(sizes))
    images = [decode(path.read_bytes(), limits) for path in paths[::step][: max(sizes)]]
    results = {
        **machine(),
        "threads": args.threads,
        **measure(args, images, sizes),
    }
    write_results(ROOT / "bench" / "results" / "models.json", results)


if __name__ == "__main__":
    main()
