"""List product cut-outs and backgrounds, with a held-out part of each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cutout:
    """An RGBA view of a product."""

    product_id: str
    path: Path


def is_held_out(name: str, percent: int) -> bool:
    """Return whether a name is held out; by a hash, so that new names move no others."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 100 < percent


def list_cutouts(data: Path, *, held_out: bool, percent: int = 6) -> list[Cutout]:
    """List cut-outs of `train` products, only the held-out ones or only the others."""
    with (data / "products" / "products.jsonl").open(encoding="utf-8") as lines:
        train = {row["product_id"] for row in map(json.loads, lines) if row["split"] == "train"}
    found = (Cutout(path.stem.rsplit("-v", 1)[0], path) for path in sorted((data / "cutouts").glob("*.webp")))
    return [c for c in found if c.product_id in train and is_held_out(c.product_id, percent) is held_out]


def list_backgrounds(data: Path, *, held_out: bool, percent: int = 10) -> list[Path]:
    """List training backgrounds, only the held-out ones or only the others."""
    return [
        p for p in sorted((data / "backgrounds").glob("*.jpg")) if is_held_out(p.stem, percent) is held_out
    ]
