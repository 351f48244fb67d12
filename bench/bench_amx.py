"""Compare INT8 networks without AMX, as Vitrine runs them, with OpenVINO's default, which uses AMX.

    python bench/bench_amx.py [--batches 1,4,8,16] [--rounds 7]

The choice holds for a whole process, so two processes alternate in short slices; the median slice counts.
Results are written to bench/results/amx.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import machine, write_results  # noqa: E402

#: Environment of each choice: all instructions of the processor, and the runtime's own setting.
CHOICES = {"amx": {"ONEDNN_MAX_CPU_ISA": "ALL"}, "without": {}}


def serve() -> None:
    """Answer each line "network batch seconds" with images per second, until the input ends."""
    from worker.vision.detector import load_detector
    from worker.vision.embedder import load_embedder
    from worker.vision.models import find_model

    models, cache = ROOT / "models", Path(tempfile.gettempdir())
    detector = load_detector(find_model(models, "default", "detector"), cache_dir=cache, precision="int8")
    embedder = load_embedder(find_model(models, "default", "embedder"), cache_dir=cache, precision="int8")
    runtimes = {"detector": (detector._runtime, 320), "embedder": (embedder._runtime, 224)}
    for line in sys.stdin:
        name, batch, seconds = line.split()
        runtime, side_px = runtimes[name]
        images = np.random.default_rng(0).integers(0, 255, (int(batch), side_px, side_px, 3), np.uint8)
        runtime.infer(images)
        done, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < float(seconds):
            runtime.infer(images)
            done += int(batch)
        print(done / spent, flush=True)


def measure(batches: list[int], rounds: int, slice_s: float) -> dict[str, float]:
    """Measure rates and ratios under flat keys."""
    children = {
        choice: subprocess.Popen(
            [sys.executable, __file__, "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"} | environment,
        )
        for choice, environment in CHOICES.items()
    }

    def ask(choice: str, name: str, batch: int, seconds: float) -> float:
        child = children[choice]
        assert child.stdin is not None
        assert child.stdout is not None
        print(name, batch, seconds, file=child.stdin, flush=True)
        return float(child.stdout.readline())

    found: dict[str, float] = {}
    for name in ("detector", "embedder"):
        for batch in batches:
            rates: dict[str, list[float]] = {choice: [] for choice in CHOICES}
            for _ in range(rounds):
                for choice, measured in rates.items():
                    measured.append(ask(choice, name, batch, slice_s))
            medians = {choice: statistics.median(measured) for choice, measured in rates.items()}
            for choice, rate in medians.items():
                found[f"{name}_batch{batch}_{choice}_images_per_s"] = round(rate, 1)
            found[f"{name}_batch{batch}_without_over_amx_ratio"] = round(
                medians["without"] / medians["amx"], 2
            )
    for child in children.values():
        child.communicate()
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", default="1,4,8,16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice-s", type=float, default=0.7)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        serve()
        return
    before = machine()
    if "amx_int8" not in str(before["cpu"]):
        print("This processor has no AMX: there is nothing to compare.")
        return
    found = measure([int(batch) for batch in args.batches.split(",")], args.rounds, args.slice_s)
    write_results(ROOT / "bench" / "results" / "amx.json", {**before, **found})


if __name__ == "__main__":
    main()
