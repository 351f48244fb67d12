"""How well near duplicates are told from different products, by perceptual hash and embedding.

    python bench/bench_duplicates.py [--data demo] [--changed 120] [--features features.npz]

True duplicates are made of known pictures: smaller, compressed, cut, mirrored, darkened, with a border.
Every other pair of products is a false one. Prints, for each pair of limits, the share of true
duplicates found, how many pairs of different products are taken for duplicates, and how many products are in
them. The embedder sees what the detector finds, as an import does. DATA has products.jsonl and the pictures
that it names: the data pack beside this repository, or else the demo.
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
from worker.vision.pipeline import build_pipeline  # noqa: E402

PACK = ROOT.parent / "shared/data/products"
LIMITS = ImageLimits(20_000_000, 50_000_000, 16_000)


def smaller(image: Image) -> Image:
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)


def compressed(image: Image) -> Image:
    _, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])
    again = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(again[..., ::-1])


def cut(share: float) -> Callable[[Image], Image]:
    def change(image: Image) -> Image:
        dy, dx = (max(int(side * share / 2), 1) for side in image.shape[:2])
        return np.ascontiguousarray(image[dy:-dy, dx:-dx])

    return change


def bordered(image: Image) -> Image:
    dy, dx = (side // 20 for side in image.shape[:2])
    white = (255, 255, 255)
    made = cv2.copyMakeBorder(image, dy, dy, dx, dx, cv2.BORDER_CONSTANT, value=white)
    return np.asarray(made, np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "half the size": smaller,
    "JPEG quality 30": compressed,
    "cut by 3 %": cut(0.03),
    "cut by 8 %": cut(0.08),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "darker by 15 %": lambda image: np.asarray(image * 0.85, np.uint8),
    "border of 5 %": bordered,
}
BITS, SCORES = (2, 4, 6, 8, 10, 12, 14, 64), (0.80, 0.85, 0.90, 0.93, 0.95, 0.97)


def features(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Hashes and embeddings of all pictures, and of changed copies of some."""
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


def table(known: dict[str, np.ndarray]) -> list[dict[str, float]]:
    """Print and return a row for each pair of limits."""
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
    for most in BITS:
        for least in SCORES:
            hit = (copy_bits <= most) & (copy_scores >= least)
            wrong = (bits <= most) & (scores >= least)
            shares = hit.mean(axis=1)
            of = len(set(left[wrong]) | set(right[wrong]))
            straight = float(np.delete(shares, list(CHANGES).index("mirrored")).mean())
            rows.append(
                {"bits": most, "score": least, **dict(zip(CHANGES, map(float, shares), strict=True)),
                 "straight": straight, "false_pairs": int(wrong.sum()), "false_products": of}
            )  # fmt: skip
            print(
                most,
                least,
                *(f"{100 * s:.0f}" for s in shares),
                f"{100 * straight:.1f}",
                int(wrong.sum()),
                of,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=PACK if PACK.exists() else ROOT / "demo")
    parser.add_argument("--changed", type=int, default=120, help="Products of which copies are made.")
    parser.add_argument("--products", type=int, help="Only so many products.")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--features", type=Path, help="Where hashes and embeddings are kept between runs.")
    args = parser.parse_args()
    before = machine()
    if args.features is not None and args.features.exists():
        known = dict(np.load(args.features))
    else:
        known = features(args)
        if args.features is not None:
            np.savez(args.features, allow_pickle=False, **known)
    rows = table(known)
    results = {**before, "products": len(known["ids"]), "rows": rows}
    write_results(ROOT / "bench" / "results" / "duplicates.json", results)


if __name__ == "__main__":
    main()
