"""Products on their way into a catalogue: pictures read, checked and decoded, beside the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.catalogue import images_of
from shared.contracts import ProductIn
from shared.database import Database
from shared.database.tables import Detection, Product
from shared.database.tables import Image as ImageRow
from shared.errors import ImageTooLarge, Unavailable, VitrineError
from shared.image_store import ImageStore
from shared.images import ImageLimits, decode
from shared.import_sources import Source
from shared.ledger.work import ChunkClaim, Item, Problem
from worker.index_versions import LiveIndex
from worker.pipeline import CatalogueEmbedding
from worker.vision import Image

#: Twice what the detector takes, so that an object of half the picture fills the embedder's input:
#: camera files are then decoded at a quarter or an eighth of their size.
_SIDE_NEEDED_PX = 640


@dataclass(slots=True)
class Picture:
    """One picture of a product.

    Attributes:
        pixels: decoded, None where the index has this very picture of this product already.
    """

    image_id: str
    sha256: str
    width: int
    height: int
    pixels: Image | None = None
    found: list[CatalogueEmbedding] = field(default_factory=list)


@dataclass(slots=True)
class Prepared:
    """A product with its pictures, and what the catalogue had of it before."""

    item: Item
    product: ProductIn
    digest: str
    pictures: list[Picture]
    problems: list[Problem]
    before: Known | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue holds of a product."""

    row: Product
    images: dict[str, ImageRow]
    detections: dict[str, list[Detection]]


Batch = list[Prepared]


class Loader:
    """Reads, checks and decodes pictures in a pool of threads, beside the model."""

    def __init__(
        self, store: ImageStore, source: Source, limits: ImageLimits, decoders: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._source = source
        self._limits = limits
        self._decoders = decoders

    def load(self, database: Database, claim: ChunkClaim, live: LiveIndex, items: Sequence[Item]) -> Batch:
        """Return the products ready to be embedded; a bad picture is a problem of its product."""
        with database.read() as session:
            known = known_products(session, claim.catalogue_id, live.id, [i.product_id for i in items])
        return list(
            self._decoders.map(lambda item: self._prepare(claim, item, known.get(item.product_id)), items)
        )

    def _prepare(self, claim: ChunkClaim, item: Item, before: Known | None) -> Prepared:
        product = ProductIn.model_validate(item.payload["product"])
        prepared = Prepared(item, product, _digest(product), [], [], before)
        keys: list[str] | None = item.payload.get("images")
        names: list[str] = item.payload.get("files", [])
        if "images" in item.payload and keys is None:
            prepared.pictures = [_kept(row) for row in before.images.values()] if before else []
            return prepared
        for name in keys if keys is not None else names:
            try:
                data = self._store.get(name, "images") if keys is not None else self._read(name)
                picture = self._picture(claim, item.product_id, data, before, stored=keys is not None)
            except Unavailable:
                raise
            except VitrineError as error:
                reason = "missing_image" if error.code in ("image_missing", "not_found") else error.code
                prepared.problems.append(
                    Problem(item.row, item.product_id, name[:500], reason, error.message)
                )
                continue
            if picture.image_id not in {p.image_id for p in prepared.pictures}:
                prepared.pictures.append(picture)
        return prepared

    def _read(self, name: str) -> bytes:
        with self._source.open(name) as file:
            data = file.read(self._limits.max_bytes + 1)
        if len(data) > self._limits.max_bytes:
            raise ImageTooLarge(f"{name!r} is larger than {self._limits.max_bytes:,} bytes: make it smaller.")
        return data

    def _picture(
        self, claim: ChunkClaim, product_id: str, data: bytes, before: Known | None, *, stored: bool
    ) -> Picture:
        sha256 = hashlib.sha256(data).hexdigest()
        image_id = image_id_of(claim.catalogue_id, product_id, sha256)
        row = before.images.get(image_id) if before else None
        if row is not None and before is not None and image_id in before.detections:
            return _kept(row)
        pixels = decode(data, self._limits, _SIDE_NEEDED_PX)
        if not stored:
            self._store.put(data, "images")
        return Picture(image_id, sha256, pixels.shape[1], pixels.shape[0], pixels)


def image_id_of(catalogue_id: int, product_id: str, sha256: str) -> str:
    """Return the id of a picture: the same content of the same product has the same id for ever."""
    return hashlib.sha256(f"{catalogue_id}/{product_id}/{sha256}".encode()).hexdigest()[:32]


def known_products(
    session: Session, catalogue_id: int, index_version: int, product_ids: Iterable[str]
) -> dict[str, Known]:
    """Return what the catalogue holds of products, by product id; new ones are left out."""
    products = session.scalars(
        select(Product).where(Product.catalogue_id == catalogue_id, Product.product_id.in_(list(product_ids)))
    ).all()
    images = images_of(session, [p.id for p in products])
    image_ids = [image.id for rows in images.values() for image in rows]
    detections: dict[str, list[Detection]] = {}
    for detection in session.scalars(
        select(Detection).where(Detection.image_id.in_(image_ids), Detection.index_version == index_version)
    ):
        detections.setdefault(detection.image_id, []).append(detection)
    return {
        p.product_id: Known(
            row=p,
            images={image.id: image for image in images.get(p.id, [])},
            detections={i.id: detections[i.id] for i in images.get(p.id, []) if i.id in detections},
        )
        for p in products
    }


def _kept(row: ImageRow) -> Picture:
    return Picture(row.id, row.sha256, row.width, row.height)


def _digest(product: ProductIn) -> str:
    text = json.dumps(product.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
