"""Evaluate an embedder: recall of the right product on the benchmark, for each way of cropping.

    python -m training.embedder_eval --data DIR --weights FILE --architecture NAME \
        [--detector detector.safetensors] [--resize pad] [--margin 0.05]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.training.crops import CropSpec, box_on_white, crop_object
from worker.training.detector_eval import Found, find, overlap
from worker.training.trunks import PREPROCESS, Floats, open_trunk, run

Pixels = NDArray[np.uint8]
Boxes = Literal["true", "whole", "automatic"]


@dataclass(frozen=True)
class CropBenchmark:
    """Crops of a benchmark. A query without a crop (its object was not found) is a miss."""

    gallery: Pixels
    gallery_ids: tuple[str, ...]
    queries: Pixels
    query_rows: tuple[tuple[str, str, bool], ...]  # kind, product id, whether there is a crop


def read_picture(path: Path) -> Pixels:
    """Read a picture as (H, W, 3) uint8 RGB."""
    return np.asarray(Image.open(path).convert("RGB"))


def to_soft_mask(found: Found, index: int) -> NDArray[np.float32]:
    """Return a found mask (H, W) as weights in 0..1."""
    return np.asarray(found.masks[index], np.float32)


def whole_frame(image: Pixels) -> NDArray[np.float32]:
    """Return the frame as a box (4,) in pixels."""
    return np.array([0, 0, image.shape[1], image.shape[0]], np.float32)


def cut_benchmark(
    data: Path, spec: CropSpec, boxes: Boxes, detector: Any = None, limit: int | None = None
) -> CropBenchmark:
    """Cut the crops of the benchmark's gallery and queries.

    Args:
        boxes: `true`: the benchmark's boxes, and the tight box of a gallery picture; `whole`: frames;
            `automatic`: the detector's. With one object in the photograph that is its most confident
            detection, with several the one that overlaps the object by half, else a miss.
        detector: needed for `automatic`; masks come from it.
        limit: maximum number of photographs, for a quick run.
    """
    gallery, ids = [], []
    for line in (data / "products" / "products.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        image = read_picture(data / "products" / row["image"])
        gallery.append(_gallery_crop(image, spec, boxes, detector))
        ids.append(row["product_id"])
    queries, rows = [], []
    lines = (data / "benchmark.jsonl").read_text(encoding="utf-8").splitlines()[:limit]
    for row in map(json.loads, lines):
        image = read_picture(data / row["file"])
        found = find(detector, image) if boxes == "automatic" else None
        for thing in row["objects"]:
            crop = _query_crop(
                image, np.asarray(thing["box"], np.float32), spec, boxes, found, len(row["objects"])
            )
            rows.append((row["kind"], thing["product_id"], crop is not None))
            if crop is not None:
                queries.append(crop)
    return CropBenchmark(np.stack(gallery), tuple(ids), np.stack(queries), tuple(rows))


def _gallery_crop(image: Pixels, spec: CropSpec, boxes: Boxes, detector: Any) -> Pixels:
    if boxes == "whole":
        return crop_object(image, whole_frame(image), None, spec)
    if boxes == "true":
        return crop_object(image, box_on_white(image), None, spec)
    found = find(detector, image)
    if not len(found.boxes):
        return crop_object(image, whole_frame(image), None, spec)
    return crop_object(image, found.boxes[0], to_soft_mask(found, 0), spec)


def _query_crop(
    image: Pixels, box: NDArray[np.float32], spec: CropSpec, boxes: Boxes, found: Found | None, objects: int
) -> Pixels | None:
    if boxes == "whole":
        return crop_object(image, whole_frame(image), None, spec)
    if found is None:
        return crop_object(image, box, None, spec)
    if objects == 1:
        if not len(found.boxes):
            return crop_object(image, whole_frame(image), None, spec)
        return crop_object(image, found.boxes[0], to_soft_mask(found, 0), spec)
    shares = overlap(box[None], found.boxes)[0]
    if not len(shares) or shares.max() < 0.5:
        return None
    best = int(shares.argmax())
    return crop_object(image, found.boxes[best], to_soft_mask(found, best), spec)


def recall(
    benchmark: CropBenchmark, gallery: Floats, queries: Floats, ranks: Sequence[int] = (1, 10)
) -> dict[str, Any]:
    """Compute recall in percent at each rank, by kind of photograph.

    Args:
        gallery: (G, D) float32, L2-normalised.
        queries: (Q, D) float32, L2-normalised, in the order of the rows that have a crop.
    """
    ids = np.asarray(benchmark.gallery_ids)
    best = np.argsort(-(queries @ gallery.T), 1, kind="stable")[:, : max(ranks)]
    answers: dict[str, list[int]] = {}
    index = 0
    for kind, product, cut in benchmark.query_rows:
        position = 10**6
        if cut:
            hits = np.flatnonzero(ids[best[index]] == product)
            position = int(hits[0]) if len(hits) else position
            index += 1
        answers.setdefault(kind, []).append(position)
    table: dict[str, Any] = {}
    for kind, positions in answers.items():
        table[kind] = {f"recall@{r}": round(100 * float(np.mean(np.array(positions) < r)), 1) for r in ranks}
        table[kind]["n"] = len(positions)
    return table


def format_recall(table: dict[str, Any]) -> str:
    """Format recall@1 and @10 of each kind as `same 90.8/96.9 view 69.0/88.6 ...`."""
    return "  ".join(f"{k} {v['recall@1']}/{v['recall@10']}" for k, v in table.items())


def normalise_rows(x: Floats) -> Floats:
    """Scale rows to unit length."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.float32)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and print recall for each way of cropping."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--architecture", choices=sorted(PREPROCESS), required=True)
    parser.add_argument("--detector", type=Path, help="detector weights; adds the automatic rows")
    parser.add_argument("--resize", choices=("pad", "stretch"), default="pad")
    parser.add_argument("--margin", type=float, default=0.05)
    args = parser.parse_args(argv)
    model, prepare = open_trunk(args.architecture, args.weights), PREPROCESS[args.architecture]
    detector = None
    if args.detector:
        from worker.training.detector import build

        detector = build(args.detector).eval()
    cases: list[tuple[Boxes, Literal["box", "mask"]]] = [("whole", "box"), ("true", "box")]
    if detector is not None:
        cases += [("automatic", "box"), ("automatic", "mask")]
    for boxes, mode in cases:
        spec = CropSpec(mode=mode, resize=args.resize, margin=args.margin)
        benchmark = cut_benchmark(args.data, spec, boxes, detector)
        gallery, queries = (run(model, prepare, crops) for crops in (benchmark.gallery, benchmark.queries))
        print(f"{boxes:9} {mode:4} {format_recall(recall(benchmark, gallery, queries))}", flush=True)


if __name__ == "__main__":
    main()
