"""Products on their way into a catalogue: pictures read, checked and decoded, beside the model."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from shared.catalogue.merge_patch import apply_patch
from shared.catalogue.store import trim_price
from shared.contracts import ProductIn
from shared.contracts.stored import read_stored
from shared.database import Database
from shared.database.tables import Image as ImageRow
from shared.errors import ImageTooLarge, Unavailable, VitrineError
from shared.imports.sources import Source
from shared.jobs.work import Item, Problem
from shared.retention.picture_sweep import read_sweep_count
from shared.sandbox import PictureSandbox
from shared.storage.image_store import ImageStore
from worker.duplicates.perceptual import perceptual_hash
from worker.products.batch import Batch, Content, Picture, Prepared, Target
from worker.products.existing_embeddings import Known, ReusableEmbedding, known_products, twins

Given = TypeVar("Given")
Result = TypeVar("Result")

#: Twice what the detector takes, so that an object of half the picture fills the embedder's input:
#: camera files are then decoded at a quarter or an eighth of their size.
SIDE_NEEDED_PX = 640
#: Pictures that are stored together: a folder is then waited for once, a bucket in two threads.
_STORED = 16


@dataclass(slots=True)
class _Asked:
    """A picture that an item names: by its key in the image store, or as a file of the import."""

    prepared: Prepared
    name: str
    stored: bool
    content: Content | None = None


class Loader:
    """Reads, checks and decodes pictures in a pool of threads, beside the model."""

    def __init__(
        self, store: ImageStore, source: Source, pictures: PictureSandbox, decoders: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._source = source
        self._pictures = pictures
        self._limits = pictures.limits
        self._decoders = decoders

    def load(
        self, database: Database, catalogue_id: int, targets: Sequence[Target], items: Sequence[Item]
    ) -> Batch:
        """Return the products ready to be embedded; a bad picture is a problem of its product.

        Args:
            targets: the index versions that will be written, the live one first.
        """
        began, swept = time.perf_counter(), read_sweep_count(database)
        with database.read() as session:
            known = known_products(
                session, catalogue_id, targets[0].version.id, [i.product_id for i in items]
            )
        products = []
        for item in items:
            before = known.get(item.product_id)
            product = _product_of(item, before)
            products.append(Prepared(item, product, digest_of(product), before))
        asked = [a for prepared in products for a in _asked(prepared)]
        contents: dict[str, Content] = {}
        for a in self._each(self._fetch, asked):
            _add_picture(catalogue_id, a, contents)
        self._complete(database, targets, list(contents.values()))
        for a in asked:
            if a.content is not None and a.content.problem is not None:
                _note(a, *a.content.problem)
                a.prepared.pictures = [p for p in a.prepared.pictures if p.content.problem is None]
        sound = [c for c in contents.values() if c.problem is None]
        return Batch(products, swept, sound, decode_s=time.perf_counter() - began)

    def _each(self, do: Callable[[Given], Result], given: Sequence[Given]) -> Iterable[Result]:
        """Do it for all, in the pool; a single one need not queue behind a bulk job's."""
        return self._decoders.map(do, given) if len(given) > 1 else map(do, given)

    def _fetch(self, asked: _Asked) -> _Asked:
        """Read a file of the import; what is in the image store has its hash for a name."""
        if asked.stored:
            asked.content = Content(asked.name)
            return asked
        try:
            with self._source.open(asked.name) as file:
                data = file.read(self._limits.max_bytes + 1)
            if len(data) > self._limits.max_bytes:
                most = f"{self._limits.max_bytes:,}"
                raise ImageTooLarge(f"{asked.name!r} is larger than {most} bytes: make it smaller.")
            asked.content = Content(hashlib.sha256(data).hexdigest(), data)
        except Unavailable:
            raise
        except VitrineError as error:
            _note(asked, _reason(error), error.message)
        return asked

    def _complete(self, database: Database, targets: Sequence[Target], contents: Sequence[Content]) -> None:
        """Take over what the same bytes gave before, decode the rest, and store what is new."""
        of_models: dict[int, dict[str, ReusableEmbedding]] = {}
        with database.read() as session:
            for models in {t.models for t in targets}:
                of_models[models] = twins(session, [c.sha256 for c in contents], models)
        for content in contents:
            for models, found in of_models.items():
                if (twin := found.get(content.sha256)) is not None:
                    _copy(content, models, twin)
        list(self._each(lambda c: self._decode(c, wanted=len(of_models)), contents))
        new = [c for c in contents if c.data is not None and c.problem is None]
        list(self._each(self._store_all, [new[k : k + _STORED] for k in range(0, len(new), _STORED)]))

    def _store_all(self, contents: Sequence[Content]) -> None:
        self._store.put_all({c.sha256: c.data for c in contents if c.data is not None}, "images")
        for content in contents:
            content.data = None

    def _decode(self, content: Content, wanted: int) -> None:
        """Decode unless all wanted models' objects are known."""
        try:
            if len(content.objects) < wanted:
                data = content.data if content.data is not None else self._store.get(content.sha256, "images")
                content.pixels = self._pictures.decode(data, SIDE_NEEDED_PX)
                content.height, content.width = content.pixels.shape[:2]
                content.perceptual_hash = perceptual_hash(content.pixels)
        except Unavailable:
            raise
        except VitrineError as error:
            content.problem = _reason(error), error.message


def image_id_of(catalogue_id: int, product_id: str, sha256: str) -> str:
    """Return the id of a picture: the same content of the same product has the same id for ever."""
    return hashlib.sha256(f"{catalogue_id}/{product_id}/{sha256}".encode()).hexdigest()[:32]


def _asked(prepared: Prepared) -> list[_Asked]:
    """Pictures that the item names. ``images: null`` names none: the product keeps those that it has."""
    payload, before = prepared.item.payload, prepared.before
    if "images" in payload and payload["images"] is None:
        if before is not None:
            prepared.pictures = [_kept(row) for row in before.images.values()]
        return []
    stored = "images" in payload
    return [_Asked(prepared, name, stored) for name in payload.get("images" if stored else "files", [])]


def _add_picture(catalogue_id: int, asked: _Asked, contents: dict[str, Content]) -> None:
    """Give the product its picture, unless it has the same one already; equal contents are one."""
    prepared = asked.prepared
    if asked.content is None:
        return
    sha256 = asked.content.sha256
    image_id = image_id_of(catalogue_id, prepared.item.product_id, sha256)
    if any(picture.image_id == image_id for picture in prepared.pictures):
        return
    before = prepared.before
    if before is not None and image_id in before.images and image_id in before.detections:
        prepared.pictures.append(_kept(before.images[image_id]))
        return
    asked.content = contents.setdefault(sha256, asked.content)
    prepared.pictures.append(Picture(image_id, asked.content, known=False))


def _kept(row: ImageRow) -> Picture:
    content = Content(row.sha256, None, row.width, row.height, row.perceptual_hash)
    return Picture(row.id, content, known=True)


def _copy(content: Content, models: int, twin: ReusableEmbedding) -> None:
    content.objects[models] = twin.objects
    content.width, content.height = twin.image.width, twin.image.height
    content.perceptual_hash = twin.image.perceptual_hash


def _note(asked: _Asked, reason: str, message: str) -> None:
    item = asked.prepared.item
    asked.prepared.problems.append(Problem(item.row, item.product_id, asked.name[:500], reason, message))


def _reason(error: VitrineError) -> str:
    return "missing_image" if error.code in ("image_missing", "not_found") else error.code


def stored_product(item: Item) -> ProductIn:
    """Return the product that an item stores. Raises UnreadableRow."""
    return read_stored(ProductIn, item.payload.get("product"), "What was stored of this product")


def _product_of(item: Item, before: Known | None) -> ProductIn:
    """The product as it is to be: as it was sent, or as it is now with what was sent merged in."""
    if "patch" not in item.payload:
        return stored_product(item)
    return ProductIn() if before is None else apply_patch(before.row, item.payload["patch"])


def digest_of(product: ProductIn) -> str:
    """Return a hash of everything that a product says, its pictures apart.

    However a price is written, ``99``, ``99.0`` or with the zeros that databases add, it is one price.
    """
    told = product.model_copy(update={"price": trim_price(product.price)})
    text = json.dumps(told.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
