"""A fixed set of training crops on disk, so that trunks can be compared on the same pixels.

    python -m worker.training.crop_set --data DIR --out DIR --scenes 9000

Per cut-out a clean crop on white; per object of a composed scene the crop in mask mode with an imperfect
mask and the crop in box mode. `crops.npy` (N, 224, 224, 3) uint8 RGB, `crops.json` what each row is.
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
    """What one crop shows. `kind` is clean, mask or box; golden for a golden query."""

    product_id: str
    view: str
    kind: str

    @property
    def shown_first(self) -> bool:
        """Whether it is the picture by which a gallery shows the product."""
        return self.kind == "clean" and self.view.endswith("-v0")


def cut_scene(
    composer: Composer, seed: Sequence[int], wanted: Sequence[Cutout], spec: CropSpec
) -> Iterator[tuple[Row, Pixels]]:
    """Both crops of every object of one composed scene."""
    scene = composer.compose(list(seed), wanted)
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


class _Maker:
    """Makes the crops of a run of scenes in one process; its pictures stay decoded between runs."""

    composer: Composer | None = None

    @classmethod
    def scenes(
        cls, data: Path, held_out: bool, seed: int, numbers: Sequence[int], spec: CropSpec
    ) -> list[tuple[Row, Pixels]]:
        cv2.setNumThreads(1)
        cutouts = list_cutouts(data, held_out=held_out)
        if cls.composer is None:
            cls.composer = Composer(cutouts, list_backgrounds(data, held_out=held_out), CROP_CONFIG)
        made = []
        for number in numbers:
            rng = np.random.default_rng([seed, number])
            order = rng.permutation(len(cutouts))[: int(rng.integers(1, 4))]
            # One cut-out in turn, so that none is left out, and up to two others at random.
            wanted = [cutouts[i] for i in order[1:]] + [cutouts[number % len(cutouts)]]
            made += list(cut_scene(cls.composer, [seed, number], wanted, spec))
        return made


def build(
    data: Path, out: Path, *, scenes: int, held_out: bool, seed: int, processes: int, spec: CropSpec
) -> None:
    """Write `crops.npy` and `crops.json` to `out`."""
    cutouts = list_cutouts(data, held_out=held_out)
    rows = [Row(c.product_id, c.path.stem, "clean") for c in cutouts]
    pixels = [on_white(np.array(Image.open(c.path).convert("RGBA")), spec) for c in cutouts]
    started = time.monotonic()
    chunks = [list(range(i, min(i + CHUNK, scenes))) for i in range(0, scenes, CHUNK)]
    # Spawned: a fork of a process that has threads of gRPC or OpenMP hangs or crashes.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        jobs = iter([pool.submit(_Maker.scenes, data, held_out, seed, chunk, spec) for chunk in chunks])
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
    """The crops, mapped from disk, and their rows."""
    rows = [Row(**row) for row in json.loads((out / "crops.json").read_text(encoding="utf-8"))]
    return np.load(out / "crops.npy", mmap_mode="r"), rows


def main(argv: list[str] | None = None) -> None:
    """The command line."""
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
