"""Write a labelled validation set for `vitrine evaluate`: composed photographs of training products.

    python -m training.validation_set --data DIR --out VAL [--products all]

Parameters chosen on the benchmark overfit it: hidden products in new views were four to five points of
recall@1 worse. So crop modes, thresholds and weights are chosen on this set, and the benchmark runs once, at
the end. By default the photographs show held-out products (`worker.scenes.cutouts.list_cutouts`); with
`--products seen` those of the training, which are more numerous and easier. Backgrounds are the held-out
photographs, painted wallpapers and painted grounds. The same data give the same set.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from worker.scenes.composer import Composer, ComposerConfig, Scene
from worker.scenes.cutouts import Cutout, list_backgrounds, list_cutouts

SEED: Final = 2027
SCENE: Final = ComposerConfig(
    size_px=512,
    scale=(0.22, 0.95),
    empty=0.0,
    catalogue=0.0,
    clutter=0.2,
    cropped=0.15,
    wallpaper=0.25,
    ground=0.2,
    light=0.15,
    hard_shadow=0.2,
)
#: Photographs per product from the gallery's viewpoint, and per other viewpoint.
SAME: Final = 6
VIEW: Final = 2
#: Photographs with several products, per product.
MULTI: Final = 2
#: Maximum number of products with `--products seen`.
SEEN_PRODUCTS: Final = 300


def compose_photographs(data: Path, *, seen: bool) -> Iterator[tuple[str, Scene]]:
    """Yield the kind and the scene of each photograph.

    Args:
        data: a data pack.
        seen: show products of the training instead of held-out ones.
    """
    cutouts = (
        _sample_products(list_cutouts(data, held_out=not seen)) if seen else list_cutouts(data, held_out=True)
    )
    composer = Composer(cutouts, list_backgrounds(data, held_out=True), SCENE)
    first = [c for c in cutouts if c.path.stem.endswith("-v0")]
    others = [c for c in cutouts if not c.path.stem.endswith("-v0")]
    same, view = (1, 1) if seen else (SAME, VIEW)
    for number, cutout in enumerate(c for c in first for _ in range(same)):
        yield "same", composer.compose((SEED, 1, number), [cutout])
    chosen = others[::4] if seen else others
    for number, cutout in enumerate(c for c in chosen for _ in range(view)):
        yield "view", composer.compose((SEED, 2, number), [cutout])
    rng = np.random.default_rng(SEED)
    for number in range(len(first) * (1 if seen else MULTI) // (3 if seen else 1)):
        together = rng.choice(len(first), min(int(rng.integers(2, 5)), len(first)), replace=False)
        yield "multi", composer.compose((SEED, 3, number), [first[n] for n in together])


def write_set(data: Path, out: Path, *, seen: bool) -> int:
    """Write gallery and photographs as a labelled set; return the number of photographs."""
    for folder in ("products/images", "benchmark"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    lines = (data / "products/products.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    gallery = [
        {"product_id": row["product_id"], "image": row["image"]} for row in rows if row["split"] == "train"
    ]
    for row in gallery:
        shutil.copy(data / "products" / row["image"], out / "products" / row["image"])
    _write_lines(out / "products/products.jsonl", gallery)
    labels = []
    for number, (kind, scene) in enumerate(compose_photographs(data, seen=seen)):
        if len(scene.boxes):
            labels.append(_write_scene(out, f"{kind}-{number:04}", kind, scene))
    _write_lines(out / "benchmark.jsonl", labels)
    return len(labels)


def _sample_products(cutouts: Sequence[Cutout]) -> list[Cutout]:
    """Return all cut-outs of an evenly spaced sample of the products."""
    products = sorted({cutout.product_id for cutout in cutouts})
    step = max(1, len(products) // SEEN_PRODUCTS)
    chosen = set(products[::step])
    return [cutout for cutout in cutouts if cutout.product_id in chosen]


def _write_scene(out: Path, name: str, kind: str, scene: Scene) -> dict[str, Any]:
    file = f"benchmark/{name}.jpg"
    Image.fromarray(scene.image).save(out / file, quality=92)
    objects = []
    for index, (product_id, box) in enumerate(zip(scene.product_ids, scene.boxes, strict=True)):
        mask = f"benchmark/{name}-{index}.png"
        Image.fromarray(scene.masks[index].astype(np.uint8) * 255).save(out / mask)
        objects.append({"product_id": product_id, "box": [float(v) for v in box], "mask": mask})
    height, width = scene.image.shape[:2]
    return {"file": file, "kind": kind, "size": [width, height], "objects": objects}


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and write the set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="products/, cutouts/ and backgrounds/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--products", choices=("held-out", "seen"), default="held-out")
    args = parser.parse_args(argv)
    count = write_set(args.data, args.out, seen=args.products == "seen")
    print(f"{args.out}: {count} photographs")


if __name__ == "__main__":
    main()
