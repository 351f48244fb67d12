"""Write a fixed set of training crops to disk, so that trunks are compared on the same pixels.

    python -m worker.training.crop_set --data DIR --out DIR --scenes 9000

It has a clean crop on white per cut-out, and per object of a composed scene one crop in mask mode with an
imperfect mask and one in box mode. `crops.npy` is (N, 224, 224, 3) uint8 RGB, `crops.json` describes its
rows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.scenes.composer import Composer, ComposerConfig
from worker.scenes.cutouts import Cutout, list_backgrounds, list_cutouts
from worker.training.crops import CropSpec, crop_object, imperfect_mask, jitter_box, on_white

Pixels = NDArray[np.uint8]

CROP_CONFIG = ComposerConfig(size_px=448, scale=(0.3, 0.95), catalogue=0.0, empty=0.0, clutter=0.4)
CHUNK = 40


@dataclass(frozen=True)
class Row:
    """The label of a crop; `kind` is clean, mask or box, or golden for a golden query."""

    product_id: str
    view: str
    kind: str

    @property
    def is_gallery(self) -> bool:
        """Return whether it is the product's picture in a gallery."""
        return self.kind == "clean" and self.view.endswith("-v0")


def cut_scene(
    composer: Composer, seed: Sequence[int], cutouts: Sequence[Cutout], spec: CropSpec
) -> Iterator[tuple[Row, Pixels]]:
    """Compose a scene and yield both crops of each of its objects."""
    scene = composer.compose(list(seed), cutouts)
    rng = np.random.default_rng([*seed, 1])
    mask_spec, box_spec = replace(spec, mode="mask"), replace(spec, mode="box")
    for cutout, box, mask in zip(scene.sources, scene.boxes, scene.masks, strict=True):
        box = jitter_box(rng, box, 0.035)
        view = cutout.path.stem
        yield (
            Row(cutout.product_id, view, "mask"),
            crop_object(scene.image, box, imperfect_mask(rng, mask), mask_spec),
        )
        yield Row(cutout.product_id, view, "box"), crop_object(scene.image, box, None, box_spec)


class _SceneCutter:
    """Cuts the crops of scenes in one process, which caches decoded pictures between calls."""

    composer: Composer | None = None

    @classmethod
    def cut(
        cls, data: Path, held_out: bool, seed: int, numbers: Sequence[int], spec: CropSpec
    ) -> list[tuple[Row, Pixels]]:
        cv2.setNumThreads(1)
        cutouts = list_cutouts(data, held_out=held_out)
        if cls.composer is None:
            cls.composer = Composer(cutouts, list_backgrounds(data, held_out=held_out), CROP_CONFIG)
        crops = []
        for number in numbers:
            rng = np.random.default_rng([seed, number])
            order = rng.permutation(len(cutouts))[: int(rng.integers(1, 4))]
            # The next cut-out, so that none is left out, and up to two others at random.
            chosen = [cutouts[i] for i in order[1:]] + [cutouts[number % len(cutouts)]]
            crops += list(cut_scene(cls.composer, [seed, number], chosen, spec))
        return crops


def build(
    data: Path, out: Path, *, scenes: int, held_out: bool, seed: int, processes: int, spec: CropSpec
) -> None:
    """Write `crops.npy` and `crops.json` to `out`."""
    cutouts = list_cutouts(data, held_out=held_out)
    rows = [Row(c.product_id, c.path.stem, "clean") for c in cutouts]
    pixels = [on_white(np.array(Image.open(c.path).convert("RGBA")), spec) for c in cutouts]
    started = time.monotonic()
    chunks = [list(range(i, min(i + CHUNK, scenes))) for i in range(0, scenes, CHUNK)]
    # Spawn, because a forked process with threads of gRPC or OpenMP hangs or crashes.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = iter([pool.submit(_SceneCutter.cut, data, held_out, seed, chunk, spec) for chunk in chunks])
        for number, job in enumerate(jobs, 1):
            for row, crop in job.result():
                rows.append(row)
                pixels.append(crop)
            if number % 10 == 0:
                rate = number * CHUNK / (time.monotonic() - started)
                left = (len(chunks) - number) * CHUNK / rate
                print(f"{len(rows)} crops, {rate:.1f} scenes/s, ETA {left:.0f} s", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "crops.npy", np.stack(pixels))
    (out / "crops.json").write_text(json.dumps([row.__dict__ for row in rows]), encoding="utf-8")


def load(out: Path) -> tuple[Any, list[Row]]:
    """Load the crops, memory-mapped, and their rows."""
    rows = [Row(**row) for row in json.loads((out / "crops.json").read_text(encoding="utf-8"))]
    return np.load(out / "crops.npy", mmap_mode="r"), rows


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and write the set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=9000)
    parser.add_argument("--held-out", action="store_true", help="held-out products and backgrounds instead")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args(argv)
    build(
        args.data,
        args.out,
        scenes=args.scenes,
        held_out=args.held_out,
        seed=args.seed,
        processes=args.processes,
        spec=CropSpec(),
    )


if __name__ == "__main__":
    main()
