"""Read a labelled set: a gallery of products, and photographs of them with true boxes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from shared.contracts.base import Box
from shared.errors import InvalidManifest

#: ``same``: the gallery's viewpoint; ``view``: another one; ``multi``: several products in one photograph.
Kind = Literal["same", "view", "multi"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class GalleryImage:
    """A picture of a product, which may have several."""

    product_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class TrueObject:
    """A product in a photograph.

    Attributes:
        box: as fractions.
        mask: a grey picture of the photograph's size, white inside the product; most sets have none.
    """

    product_id: str
    box: Box
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class Photograph:
    """A query image with its labelled objects."""

    path: Path
    kind: Kind
    objects: tuple[TrueObject, ...]


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """The data of an evaluation."""

    gallery: tuple[GalleryImage, ...]
    photographs: tuple[Photograph, ...]


def read_set(folder: Path, limit: int | None = None) -> LabelledSet:
    """Read ``products/products.jsonl`` and ``benchmark.jsonl``.

    Args:
        folder: of both files and of the images that they name.
        limit: maximum number of photographs of each kind, evenly spaced; the gallery stays complete.

    Raises:
        InvalidManifest: a file is missing or a line is invalid; the message names the line.
    """
    gallery = tuple(
        image for row in _rows(folder / "products/products.jsonl") for image in _parse_gallery(folder, *row)
    )
    photographs = [_parse_photograph(folder, *row) for row in _rows(folder / "benchmark.jsonl")]
    known = {image.product_id for image in gallery}
    for photograph in photographs:
        for labelled in photograph.objects:
            if labelled.product_id not in known:
                raise InvalidManifest(
                    f"{photograph.path.name} shows {labelled.product_id}, which products.jsonl does not list."
                )
    if limit is not None:
        photographs = [
            p for kind in KINDS for p in _sample([p for p in photographs if p.kind == kind], limit)
        ]
    return LabelledSet(gallery, tuple(photographs))


def _sample(photographs: list[Photograph], limit: int) -> list[Photograph]:
    step = max(1.0, len(photographs) / limit)
    return [photographs[int(i * step)] for i in range(min(limit, len(photographs)))]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                location = f"{path.name} line {number}"
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise InvalidManifest(f"{location} is not JSON: {error}.") from error
                if not isinstance(row, dict):
                    raise InvalidManifest(f"{location} is not a JSON object.")
                yield location, row
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidManifest(f"{path} cannot be read, and an evaluation needs it.") from error


def _parse_gallery(folder: Path, location: str, row: dict[str, Any]) -> Iterator[GalleryImage]:
    try:
        for name in row["images"] if "images" in row else [row["image"]]:
            yield GalleryImage(str(row["product_id"]), _resolve_inside(folder / "products", name, location))
    except (KeyError, TypeError) as error:
        raise InvalidManifest(f"{location} lacks a product_id or an image.") from error


def _parse_photograph(folder: Path, location: str, row: dict[str, Any]) -> Photograph:
    try:
        width, height = (float(value) for value in row["size"])
        objects = tuple(
            TrueObject(
                str(o["product_id"]),
                (o["box"][0] / width, o["box"][1] / height, *_end(o, width, height)),
                None if o.get("mask") is None else _resolve_inside(folder, o["mask"], location),
            )
            for o in row["objects"]
        )
        kind, path = row["kind"], _resolve_inside(folder, row["file"], location)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, IndexError) as error:
        raise InvalidManifest(
            f"{location} needs file, kind, size and objects with product_id and box."
        ) from error
    if kind not in KINDS:
        raise InvalidManifest(f"{location} has the kind {kind!r}: known are {', '.join(KINDS)}.")
    return Photograph(path, kind, objects)


def _end(row: dict[str, Any], width: float, height: float) -> tuple[float, float]:
    return row["box"][2] / width, row["box"][3] / height


def _resolve_inside(folder: Path, name: str, location: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidManifest(f"{location} names {name!r}, which is outside of the folder.")
    return path
