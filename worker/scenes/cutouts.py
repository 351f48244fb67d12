"""Lists what scenes are composed of: product cut-outs and backgrounds, with a held-out part of each."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cutout:
    """One RGBA view of one product."""

    product_id: str
    path: Path


def is_held_out(name: str, percent: int) -> bool:
    """Whether a name belongs to the held-out part; a hash, so that adding names moves none."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 100 < percent


def list_cutouts(data: Path, *, held_out: bool, percent: int = 6) -> list[Cutout]:
    """The cut-outs of `train` products, without or only the held-out ones; never a test product's."""
    with (data / "products" / "products.jsonl").open(encoding="utf-8") as lines:
        train = {row["product_id"] for row in map(json.loads, lines) if row["split"] == "train"}
    found = (Cutout(path.stem.rsplit("-v", 1)[0], path) for path in sorted((data / "cutouts").glob("*.webp")))
    return [c for c in found if c.product_id in train and is_held_out(c.product_id, percent) is held_out]


def list_backgrounds(data: Path, *, held_out: bool, percent: int = 10) -> list[Path]:
    """The training backgrounds, without or only the held-out ones."""
    return [
        p for p in sorted((data / "backgrounds").glob("*.jpg")) if is_held_out(p.stem, percent) is held_out
    ]
