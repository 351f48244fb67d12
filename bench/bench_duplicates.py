"""Measure how well perceptual hash and embedding separate near duplicates from different products.

    python bench/bench_duplicates.py [--data demo] [--changed 120] [--features features.npz]

True duplicates are changed copies of pictures: smaller, compressed, cut, mirrored, darkened, with a border.
All other pairs of products are false. Prints, for each pair of limits, the share of true duplicates found,
the number of false pairs, and the number of their products. Objects are detected and embedded as in an
import. DATA has products.jsonl and its pictures: the data pack next to this repository, or else the demo.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import machine, write_results  # noqa: E402
from shared.images import ImageLimits, decode  # noqa: E402
from worker.duplicates.perceptual import hamming_distances, perceptual_hash  # noqa: E402
from worker.vision import Image  # noqa: E402
from worker.vision.building import build_pipeline  # noqa: E402

PACK = ROOT.parent / "shared/data/products"
LIMITS = ImageLimits(20_000_000, 50_000_000, 16_000)


def shrink(image: Image) -> Image:
    """Halve the size."""
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)


def compress(image: Image) -> Image:
    """Encode as a JPEG of quality 30, and decode."""
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def crop_by(share: float) -> Callable[[Image], Image]:
    """Return a change that crops a share of width and height."""

    def change(image: Image) -> Image:
        dy, dx = (max(int(side * share / 2), 1) for side in image.shape[:2])
        return np.ascontiguousarray(image[dy:-dy, dx:-dx])

    return change


def add_border(image: Image) -> Image:
    """Add a white border of 5 %."""
    dy, dx = (side // 20 for side in image.shape[:2])
    white = (255, 255, 255)
    framed = cv2.copyMakeBorder(image, dy, dy, dx, dx, cv2.BORDER_CONSTANT, value=white)
    return np.asarray(framed, np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "half the size": shrink,
    "JPEG quality 30": compress,
    "cut by 3 %": crop_by(0.03),
    "cut by 8 %": crop_by(0.08),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "darker by 15 %": lambda image: np.asarray(image * 0.85, np.uint8),
    "border of 5 %": add_border,
}
BITS, SCORES = (2, 4, 6, 8, 10, 12, 14, 64), (0.80, 0.85, 0.90, 0.93, 0.95, 0.97)


def compute_features(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Compute hashes and embeddings of all pictures, and of changed copies of some."""
    rows = [json.loads(line) for line in (args.data / "products.jsonl").read_text().splitlines()]
    rows = rows[: args.products]
    images = [decode((args.data / row["image"]).read_bytes(), LIMITS, 640) for row in rows]
    sample = np.random.default_rng(3).choice(len(rows), min(args.changed, len(rows)), replace=False)
    copies = [change(images[n]) for change in CHANGES.values() for n in sample]
    with tempfile.TemporaryDirectory() as folder:
        pipeline = build_pipeline(
            models_dir=ROOT / "models",
            detector_name="default",
            embedder_name="default",
            cache_dir=Path(folder),
            threads=args.threads,
        )
        found = [each[0].embedding for each in pipeline.embed_catalogue([*images, *copies])]
    return {
        "ids": np.array([row["product_id"] for row in rows]),
        "sample": sample,
        "embeddings": np.stack(found),
        "hashes": np.array([perceptual_hash(image) for image in [*images, *copies]], np.int64),
    }


def compare_limits(known: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """Print and return one row per pair of limits."""
    count, sample = len(known["ids"]), known["sample"]
    hashes, embeddings = known["hashes"], known["embeddings"]
    left, right = np.triu_indices(count, 1)
    bits = hamming_distances(hashes[left], hashes[right])
    scores = np.concatenate(
        [(embeddings[n] @ embeddings[n + 1 : count].T) for n in range(count - 1)] or [np.zeros(0)]
    )
    copy_bits = hamming_distances(np.tile(hashes[sample], len(CHANGES)), hashes[count:]).reshape(
        len(CHANGES), -1
    )
    copy_scores = (np.tile(embeddings[sample], (len(CHANGES), 1)) * embeddings[count:]).sum(axis=1)
    copy_scores = copy_scores.reshape(len(CHANGES), -1)
    rows = []
    print("bits score | " + " | ".join(CHANGES) + " | all but mirrored | false pairs | their products")
    for max_bits in BITS:
        for min_score in SCORES:
            hit = (copy_bits <= max_bits) & (copy_scores >= min_score)
            wrong = (bits <= max_bits) & (scores >= min_score)
            shares = hit.mean(axis=1)
            products = len(set(left[wrong]) | set(right[wrong]))
            straight = float(np.delete(shares, list(CHANGES).index("mirrored")).mean())
            rows.append(
                {"bits": max_bits, "score": min_score, **dict(zip(CHANGES, map(float, shares), strict=True)),
                 "straight": straight, "false_pairs": int(wrong.sum()), "false_products": products}
            )  # fmt: skip
            print(
                max_bits,
                min_score,
                *(f"{100 * s:.0f}" for s in shares),
                f"{100 * straight:.1f}",
                int(wrong.sum()),
                products,
            )
    return rows


def main() -> None:
    """Compare the limits and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=PACK if PACK.exists() else ROOT / "demo")
    parser.add_argument("--changed", type=int, default=120, help="number of products with changed copies")
    parser.add_argument("--products", type=int, help="maximum number of products")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--features", type=Path, help="file that caches hashes and embeddings")
    args = parser.parse_args()
    before = machine()
    if args.features is not None and args.features.exists():
        known = dict(np.load(args.features))
    else:
        known = compute_features(args)
        if args.features is not None:
            np.savez(args.features, allow_pickle=False, **known)
    rows = compare_limits(known)
    results = {**before, "products": len(known["ids"]), "rows": rows}
    write_results(ROOT / "bench" / "results" / "duplicates.json", results)


if __name__ == "__main__":
    main()
