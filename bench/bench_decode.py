"""Measure the sandbox's overhead for ordinary photos, in this process and in a child.

    python -m bench.bench_decode [--rounds 60] [--out bench/results/decode.json]

The two alternate for each photo, so that other work on the machine slows both equally.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from bench.common import percentile
from shared.factories import open_picture_sandbox
from shared.images import QUERY_MAX_BYTES, QUERY_SIDE_PX, ImageLimits, decode, normalise
from shared.settings import Settings

ROOT = Path(__file__).parent.parent
#: Longer sides: a demo picture, a photo as the storefront sends it, a phone's photo.
SIDES_PX = (480, 1280, 4000)


def encode_photo(side_px: int) -> bytes:
    """Return a 4:3 JPEG with that longer side."""
    picture = Image.open(sorted((ROOT / "demo" / "images").glob("*"))[0]).convert("RGB")
    file = io.BytesIO()
    picture.resize((side_px, side_px * 3 // 4)).save(file, "JPEG", quality=90)
    return file.getvalue()


def measure_ms(work: Callable[[], object]) -> float:
    """Return the duration of a call in milliseconds."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def measure(rounds: int) -> dict[str, float]:
    """Return milliseconds: ``OPERATION_SIDE_WHERE_pNN``, and the median of the differences as ``_added``."""
    settings = Settings()
    sandbox = open_picture_sandbox(settings, settings.web.decoders, catalogue=False)
    limits: ImageLimits = sandbox.limits
    began = time.perf_counter()
    sandbox.warm_up()
    found = {"start_ms": round(1000 * (time.perf_counter() - began), 1)}
    side_px, max_bytes = QUERY_SIDE_PX, QUERY_MAX_BYTES
    for side in SIDES_PX:
        data = encode_photo(side)
        operations: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "normalise": (
                lambda data=data: normalise(data, limits, side_px, max_bytes),  # type: ignore[misc]
                lambda data=data: sandbox.normalise(data, side_px, max_bytes),  # type: ignore[misc]
            ),
            "decode": (
                lambda data=data: decode(data, limits, 640),  # type: ignore[misc]
                lambda data=data: sandbox.decode(data, 640),  # type: ignore[misc]
            ),
        }
        for name, (here, fenced) in operations.items():
            pairs = [(measure_ms(here), measure_ms(fenced)) for _ in range(rounds)]
            for where, times in zip(("here", "fenced"), zip(*pairs, strict=True), strict=True):
                for share in (0.5, 0.95):
                    key = f"{name}_{side}_{where}_p{share * 100:.0f}_ms"
                    found[key] = percentile(list(times), share, 2)
            added = statistics.median(after - before for before, after in pairs)
            found[f"{name}_{side}_added_ms"] = round(added, 2)
    return found


def main() -> None:
    """Measure, print and optionally write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = json.dumps(measure(args.rounds), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
