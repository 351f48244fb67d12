"""Judge a detector's checkpoint on a labelled set that is not trained on, once or repeatedly.

    python -m training.judge_detector --weights STABLE/detector.safetensors --set VAL [--watch 900]

Reports the recall at fixed rates of false objects per photograph, so that trainings can be compared although
their confidences differ. `--watch` polls the weights file for changes. Each result is a line of JSON, also
appended to `judged.jsonl` next to the weights.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from worker.training.detector import build
from worker.training.detector_eval import Found, find, match, overlap

#: False objects per photograph at which recall is reported.
FALSE_RATES: Final = (0.15, 0.3, 0.6)
METRICS: Final = ("threshold", "recall50", "recall75")
MIN_CONFIDENCE: Final = 0.03


def judge(weights: Path, folder: Path, photographs: int, sizes: Sequence[int]) -> dict[str, Any]:
    """Measure recall at IoU .5 and .75 by input size and rate of false objects, under flat keys.

    Args:
        weights: a safetensors state dict of yolov8n-seg with one class.
        folder: a labelled set, such as `training.validation_set` writes.
        photographs: maximum number, evenly spaced.
        sizes: input sizes in pixels.
    """
    rows = [json.loads(line) for line in (folder / "benchmark.jsonl").open(encoding="utf-8")]
    rows = rows[:: max(1, len(rows) // photographs)][:photographs]
    model = build(weights).eval()
    result: dict[str, Any] = {"photographs": len(rows)}
    for size in sizes:
        detected = []
        for row in rows:
            image = np.asarray(Image.open(folder / row["file"]).convert("RGB"))
            truth = np.asarray([each["box"] for each in row["objects"]], np.float32).reshape(-1, 4)
            detected.append((truth, find(model, image, size, MIN_CONFIDENCE)))
        for rate in FALSE_RATES:
            for name, value in zip(METRICS, measure_at_rate(detected, rate), strict=True):
                result[f"{name}_{size}px_false{rate}"] = round(value, 3)
    return result


def measure_at_rate(detected: Sequence[tuple[Any, Found]], rate: float) -> tuple[float, float, float]:
    """Find the lowest threshold within a rate of false objects per photograph.

    Returns:
        The threshold, and recall at IoU .5 and .75; ``(1, 0, 0)`` where no threshold keeps the rate.
    """
    objects = max(1, sum(len(truth) for truth, _ in detected))
    for threshold in np.arange(MIN_CONFIDENCE, 0.95, 0.02):
        false = fine = hits = 0
        for truth, found in detected:
            boxes = found.boxes[found.scores >= threshold]
            pairs = match(truth, boxes, 0.5)
            table = overlap(truth, boxes)
            hits += len(pairs)
            fine += sum(bool(table[i, j] >= 0.75) for i, j in pairs)
            false += len(boxes) - len(pairs)
        if false <= rate * len(detected):
            return float(threshold), hits / objects, fine / objects
    return 1.0, 0.0, 0.0


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, judge and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--set", type=Path, required=True, help="a labelled set")
    parser.add_argument("--photographs", type=int, default=150)
    parser.add_argument("--sizes", default="320,416")
    parser.add_argument("--watch", type=float, help="poll interval in seconds; without it, judge once")
    args = parser.parse_args(argv)
    sizes = [int(part) for part in args.sizes.split(",")]
    judged_at = 0.0
    while True:
        if args.weights.exists() and (changed := args.weights.stat().st_mtime) != judged_at:
            judged_at = changed
            result = {
                "weights": args.weights.name,
                "changed_at": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(changed)),
                **judge(args.weights, args.set, args.photographs, sizes),
            }
            print(json.dumps(result), flush=True)
            with (args.weights.parent / "judged.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(result) + "\n")
        if args.watch is None:
            return
        time.sleep(args.watch)


if __name__ == "__main__":
    main()
