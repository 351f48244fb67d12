"""Products as an import or a request names them: the source of imports and single updates."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from shared.catalogue.display import trim_price
from shared.catalogue.merge_patch import apply_patch
from shared.contracts import ProductIn
from shared.contracts.stored import read_stored
from shared.database.tables import Image as ImageRow
from shared.errors import ImageTooLarge, Unavailable, VitrineError
from shared.imports.sources import Source
from shared.jobs.work import ChunkClaim, Item, Problem
from shared.retention.picture_sweep import read_sweep_count, require_no_sweep
from worker.indexes.stored_rows import rows_of_images
from worker.indexes.versions import IndexVersion, kept_indexes, next_change_number
from worker.products.batch import Batch, Content, ExistingProduct, Picture, PreparedProduct, Target
from worker.products.context import JobContext
from worker.products.embedding import open_targets
from worker.products.existing_embeddings import load_existing_products
from worker.products.index_rows import restore_rows
from worker.products.order import find_superseded, superseded_outcome
from worker.products.pictures import load_contents, reason_code, run_parallel
from worker.products.tables import require_unchanged, write_detections, write_products


@dataclass(slots=True)
class _NamedPicture:
    """A picture that an item names: by its key in the image store, or as a file of the import."""

    prepared: PreparedProduct
    name: str
    is_stored: bool
    content: Content | None = None


class ManifestSource:
    """Items with the data of products, and their pictures by name.

    The first target is the live version; the others get the same products.

    Attributes:
        files: what the import reads its pictures from.
    """

    #: A picture that cannot be used is no picture of the product.
    keeps_unusable = False
    only_collection: str | None = None

    def __init__(self, context: JobContext, claim: ChunkClaim, files: Source) -> None:
        self.context = context
        self.claim = claim
        self.files = files
        self.targets: Sequence[Target] = open_targets(context, claim.catalogue_id)

    @property
    def versions(self) -> list[IndexVersion]:
        return [target.version for target in self.targets]

    def load(self, items: Sequence[Item]) -> Batch:
        """Return the items' products ready to be embedded; a bad picture is a problem of its product."""
        began, sweep_count = time.perf_counter(), read_sweep_count(self.context.database)
        ids = [item.product_id for item in items]
        with self.context.database.read() as session:
            superseded = find_superseded(session, self.claim, ids)
            existing = load_existing_products(
                session, self.claim.catalogue_id, [each for each in ids if each not in superseded]
            )
        current = [item for item in items if item.product_id not in superseded]
        products = [_prepare(item, existing.get(item.product_id)) for item in current]
        named = [each for prepared in products for each in _named_pictures(prepared)]
        run_parallel(self.context, self._fetch, named)
        contents: dict[str, Content] = {}
        for picture in named:
            self._add_picture(picture, contents)
        load_contents(self.context, self.targets, list(contents.values()))
        batch = Batch(items, products, list(contents.values()), sweep_count=sweep_count)
        batch.settled = [superseded_outcome(item) for item in items if item.product_id in superseded]
        self._load_kept_rows(batch)
        batch.decode_s = time.perf_counter() - began
        return batch

    def reload(self, batch: Batch) -> Batch:
        """Load what the catalogue holds now; undo what the last try did to products that this one leaves."""
        again = self.load(batch.items)
        left = {outcome.item.product_id for outcome in again.settled}
        touched = [p for p in batch.products if p.item.product_id in left]
        if touched:
            restore_rows(self.context, self.claim.catalogue_id, touched)
        return again

    def products_to_write(self, batch: Batch) -> list[PreparedProduct]:
        """Return the products that changed. A single update counts as written now, whatever was before."""
        return [p for p in batch.products if p.pictures and self._is_written(p)]

    def versions_to_clear(self, session: Session) -> list[IndexVersion]:
        """Return the versions that must lose what a product no longer has: all that have a collection."""
        return kept_indexes(session, self.claim.catalogue_id)

    def lock(self, session: Session, batch: Batch, products: Sequence[PreparedProduct]) -> int:
        """Number this change of the catalogue, and make sure that the batch was made from what it holds now.

        Raises:
            ProductsChanged: others wrote these products since.
            PicturesSwept: pictures were deleted since, perhaps some of its own.
        """
        if not products:
            return 0
        change = next_change_number(session, self.claim.catalogue_id, self.versions)
        existing = {p.item.product_id: p.existing for p in products if p.existing is not None}
        require_unchanged(session, self.claim, existing, [p.item.product_id for p in products])
        if not all(picture.is_indexed for p in products for picture in p.pictures):
            require_no_sweep(session, batch.sweep_count)
        return change

    def commit(
        self, session: Session, batch: Batch, products: Sequence[PreparedProduct], change: int
    ) -> None:
        """Write products, pictures and objects to the catalogue."""
        if products:
            write_products(session, self.claim, change, products)
            write_detections(session, products, self.targets)

    def _is_written(self, prepared: PreparedProduct) -> bool:
        return prepared.is_changed or self.claim.kind == "put"

    def _load_kept_rows(self, batch: Batch) -> None:
        """Load the rows of pictures that stay, of products of which rows say something else from now on."""
        moved = {
            p.item.product_id: (p.product, p.filter_fields)
            for p in batch.products
            if self._is_written(p) and p.is_relabelled
        }
        images = [
            picture.image_id
            for p in batch.products
            if p.item.product_id in moved
            for picture in p.pictures
            if picture.is_indexed
        ]
        if images:
            with self.context.database.read() as session:
                for version in self.versions:
                    batch.kept_rows[version.id] = rows_of_images(session, version.id, images, moved)

    def _fetch(self, picture: _NamedPicture) -> None:
        """Read a file of the import; the key of a stored picture is its hash."""
        if picture.is_stored:
            picture.content = Content(picture.name)
            return
        limit = self.context.limits.max_bytes
        try:
            with self.files.open(picture.name) as file:
                data = file.read(limit + 1)
            if len(data) > limit:
                raise ImageTooLarge(f"{picture.name!r} is larger than {limit:,} bytes: make it smaller.")
            picture.content = Content(hashlib.sha256(data).hexdigest(), data)
        except Unavailable:
            raise
        except VitrineError as error:
            item = picture.prepared.item
            picture.prepared.problems.append(
                Problem(item.row, item.product_id, picture.name[:500], reason_code(error), error.message)
            )

    def _add_picture(self, named: _NamedPicture, contents: dict[str, Content]) -> None:
        """Add a picture to its product, unless it has the same one already; equal contents are one."""
        prepared = named.prepared
        if named.content is None:
            return
        sha256 = named.content.sha256
        image_id = image_id_of(self.claim.catalogue_id, prepared.item.product_id, sha256)
        if any(picture.image_id == image_id for picture in prepared.pictures):
            return
        existing, live = prepared.existing, self.versions[0].id
        if existing and image_id in existing.images and image_id in existing.numbers.get(live, {}):
            prepared.pictures.append(indexed_picture(existing.images[image_id]))
            return
        content = contents.setdefault(sha256, named.content)
        prepared.pictures.append(Picture(image_id, content, named.name, is_indexed=False))


def image_id_of(catalogue_id: int, product_id: str, sha256: str) -> str:
    """Return the id of a picture: the same content of the same product always has the same id."""
    return hashlib.sha256(f"{catalogue_id}/{product_id}/{sha256}".encode()).hexdigest()[:32]


def indexed_picture(row: ImageRow) -> Picture:
    """Return a picture that stays as index and database have it."""
    content = Content(row.sha256, None, row.width, row.height, row.perceptual_hash)
    return Picture(row.id, content, row.sha256, is_indexed=True)


def stored_product(item: Item) -> ProductIn:
    """Return the product that an item stores. Raises UnreadableRow."""
    return read_stored(ProductIn, item.payload.get("product"), "What was stored of this product")


def digest_of(product: ProductIn) -> str:
    """Return a hash of everything that a product says, its pictures apart.

    A price has one spelling in it: ``99``, ``99.0`` and the zeros that databases add are the same.
    """
    trimmed = product.model_copy(update={"price": trim_price(product.price)})
    text = json.dumps(trimmed.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _prepare(item: Item, existing: ExistingProduct | None) -> PreparedProduct:
    product = _merged_product(item, existing)
    return PreparedProduct(item, product, digest_of(product), existing)


def _merged_product(item: Item, existing: ExistingProduct | None) -> ProductIn:
    """Return the product as it was sent, or as it is now with what was sent merged in."""
    if "patch" not in item.payload:
        return stored_product(item)
    return ProductIn() if existing is None else apply_patch(existing.row, item.payload["patch"])


def _named_pictures(prepared: PreparedProduct) -> list[_NamedPicture]:
    """Return the pictures that the item names. ``images: null`` names none: the product keeps its own."""
    payload, existing = prepared.item.payload, prepared.existing
    if "images" in payload and payload["images"] is None:
        if existing is not None:
            prepared.pictures = [indexed_picture(row) for row in existing.images.values()]
        return []
    is_stored = "images" in payload
    names = payload.get("images" if is_stored else "files", [])
    return [_NamedPicture(prepared, name, is_stored) for name in names]
