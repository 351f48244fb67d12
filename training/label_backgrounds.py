r"""Label a data pack's photographs with a teacher, for the detector's training.

    python -m training.label_backgrounds --data DIR --out PACK --teacher isnet.onnx \
        --choose 017-058 --skip 039,048

The teacher is ISNet (MIT), which separates the subject of a photograph from its background: the ONNX file of
the npm package `@imgly/background-removal-data`, whose chunks are joined as its `resources.json` describes.
`PACK` is the same data pack with `masks/`, and with the masked objects as further products; all other files
are links to DIR. A photograph takes about ten seconds. Check the masks and name the photographs to use:
buildings and landscapes are no products.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.scenes.cutouts import is_held_out
from worker.vision.runtimes.openvino_runtime import load_openvino

TEACHER_PX: Final = 1024
#: Minimum share of the photograph that a connected part of a mask needs to count as an object.
MIN_SHARE: Final = 0.012
#: Maximum longer side of a cut-out.
CUTOUT_PX: Final = 400
#: Prefix of product ids, so that these cut-outs are drawn like the pack's other photographed ones.
PREFIX: Final = "stamp-photo-"


def predict_mask(teacher: Any, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the mask of a photograph's subject, (H, W) float32 in 0..1."""
    height, width = image.shape[:2]
    square = cv2.resize(image, (TEACHER_PX, TEACHER_PX), interpolation=cv2.INTER_AREA)
    tensor = ((square.astype(np.float32) - 128) / 256).transpose(2, 0, 1)[None]
    answer = np.asarray(teacher(tensor)[0], np.float32)[0, 0]
    return np.asarray(np.clip(cv2.resize(answer, (width, height)), 0, 1), np.float32)


def number_objects(alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the number of the object at each pixel, from 1; 0 for background."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.5).astype(np.uint8))
    owner = np.zeros(alpha.shape, np.uint8)
    large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= MIN_SHARE * alpha.size]
    for number, part in enumerate(large, 1):
        owner[parts == part] = number
    return owner


def cut_objects(
    image: NDArray[np.uint8], alpha: NDArray[np.float32], owner: NDArray[np.uint8]
) -> Iterator[Image.Image]:
    """Yield each object that the border does not clip, as RGBA."""
    for number in range(1, int(owner.max()) + 1):
        inside = owner == number
        if inside[[0, -1]].any() or inside[:, [0, -1]].any():
            continue
        ys, xs = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        rows, columns = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
        near = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8))
        opaque = (alpha * near * 255).astype(np.uint8)[rows, columns]
        cut = Image.fromarray(np.dstack([image[rows, columns], opaque]))
        cut.thumbnail((CUTOUT_PX, CUTOUT_PX))
        yield cut


def is_chosen(stem: str, choose: str, skip: str) -> bool:
    """Return whether a photograph is among those named, as in `017-058,060` without `039`."""
    if stem in skip.split(","):
        return False
    for part in choose.split(","):
        first, _, last = part.partition("-")
        if first <= stem <= (last or first):
            return True
    return False


def write_pack(args: argparse.Namespace) -> tuple[int, int]:
    """Write the pack; return the number of photographs with a mask, and of objects cut out."""
    core = load_openvino().Core()
    teacher = core.compile_model(str(args.teacher), "CPU", {"INFERENCE_NUM_THREADS": args.threads})
    for folder in ("products", "cutouts", "masks"):
        (args.out / folder).mkdir(parents=True, exist_ok=True)
    _link(args.data / "backgrounds", args.out / "backgrounds")
    for cutout in (args.data / "cutouts").glob("*.webp"):
        _link(cutout, args.out / "cutouts" / cutout.name)
    rows = (args.data / "products/products.jsonl").read_text(encoding="utf-8").splitlines()
    photographs = objects = 0
    for path in sorted((args.data / "backgrounds").glob("*.jpg")):
        if not is_chosen(path.stem, args.choose, args.skip):
            continue
        image = np.asarray(Image.open(path).convert("RGB"))
        alpha = predict_mask(teacher, image)
        owner = number_objects(alpha)
        if not owner.any():
            continue
        Image.fromarray(owner).save(args.out / "masks" / f"{path.stem}.png")
        photographs += 1
        # Objects of a held-out photograph must stay unseen, in any form.
        if is_held_out(path.stem, 10):
            continue
        for number, cut in enumerate(cut_objects(image, alpha, owner)):
            name = f"{PREFIX}{path.stem}-{number}"
            cut.save(args.out / "cutouts" / f"{name}-v0.webp", quality=92)
            rows.append(json.dumps({"product_id": name, "split": "train"}))
            objects += 1
    (args.out / "products/products.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return photographs, objects


def _link(source: Path, target: Path) -> None:
    if not target.exists():
        target.symlink_to(source.absolute())


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and write the pack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="products/, cutouts/ and backgrounds/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="ISNet as ONNX")
    parser.add_argument("--choose", required=True, help="names of photographs, such as 017-058,060")
    parser.add_argument("--skip", default="", help="names of photographs left out")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    photographs, objects = write_pack(args)
    print(f"{args.out}: {photographs} photographs with masks, {objects} objects cut out")


if __name__ == "__main__":
    main()
