"""Read catalogues and products, and create catalogues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.catalogue.counts import CatalogueCounts, Count
from shared.catalogue.display import image_url, trim_price
from shared.contracts import CatalogueOut, ImageOut, ProductOut
from shared.contracts.base import Box
from shared.contracts.states import IndexState
from shared.contracts.stored import read_stored
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Catalogue, Detection, Image, IndexVersionRow, Product
from shared.errors import NotFound, UnknownProduct


class CatalogueStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts = CatalogueCounts()

    def create(self, name: str, currency: str = "EUR") -> CatalogueOut:
        """Create the catalogue unless it exists; return it."""
        self.ensure(name, currency)
        return self.get(name)

    def ensure(self, name: str, currency: str = "EUR") -> None:
        """Create the catalogue unless it exists, without counting its products."""
        try:
            with self._database.write() as session:
                if session.scalar(select(Catalogue.id).where(Catalogue.name == name)) is None:
                    session.add(Catalogue(name=name, currency=currency, created_at=now_s()))
        except IntegrityError:
            pass  # created concurrently

    def get(self, name: str) -> CatalogueOut:
        """Return a catalogue, or raise UnknownCatalogue."""
        with self._database.read() as session:
            return self._to_contracts(session, [find_catalogue(session, name)])[0]

    def list_catalogues(self) -> list[CatalogueOut]:
        """Return all catalogues in alphabetical order."""
        with self._database.read() as session:
            query = select(Catalogue).where(Catalogue.deleted_name.is_(None))
            rows = session.scalars(query.order_by(Catalogue.name)).all()
            return self._to_contracts(session, rows)

    def _to_contracts(self, session: Session, rows: Sequence[Catalogue]) -> list[CatalogueOut]:
        counts = self._counts.of(session, rows)
        live = {
            version.catalogue_id: version
            for version in session.scalars(
                select(IndexVersionRow).where(
                    IndexVersionRow.catalogue_id.in_([row.id for row in rows]),
                    IndexVersionRow.state == IndexState.LIVE,
                )
            )
        }
        return [_catalogue_out(row, counts[row.id], live.get(row.id)) for row in rows]

    def import_mapping(self, name: str) -> dict[str, list[str]]:
        """Return the columns that imports take for each field; empty where their names tell."""
        with self._database.read() as session:
            return find_catalogue(session, name).import_mapping or {}

    def set_import_mapping(self, name: str, mapping: dict[str, list[str]]) -> None:
        """Keep what the columns of later imports mean."""
        with self._database.write() as session:
            find_catalogue(session, name, "key_share").import_mapping = mapping or None

    def product(self, catalogue: str, product_id: str) -> ProductOut:
        """Return a product with its pictures and their main objects.

        Raises:
            UnknownCatalogue, UnknownProduct.
            UnreadableRow: another version wrote the product, or it is damaged.
        """
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            row = session.scalar(
                select(Product).where(
                    Product.catalogue_id == catalogue_row.id, Product.product_id == product_id
                )
            )
            if row is None:
                raise UnknownProduct(f"There is no product {product_id!r} in {catalogue!r}.", "product_id")
            images = session.scalars(
                select(Image).where(Image.product == row.id).order_by(Image.position)
            ).all()
            boxes = load_main_boxes(session, [image.id for image in images])
            return _product_out(row, images, boxes)

    def currencies(self) -> set[str]:
        """Return the currencies of all catalogues and prices; empty for a database without tables."""
        with self._database.read() as session:
            if not inspect(session.connection()).has_table(Catalogue.__tablename__):
                return set()
            found = set(session.scalars(select(Catalogue.currency).distinct()))
            return found.union(code for code in session.scalars(select(Product.currency).distinct()) if code)

    def titles(self, catalogue: str, product_ids: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the titles of products by product and locale; missing products are left out.

        Raises:
            UnknownCatalogue.
        """
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            rows = session.execute(
                select(Product.product_id, Product.titles).where(
                    Product.catalogue_id == catalogue_row.id, Product.product_id.in_(product_ids)
                )
            )
            return {row.product_id: row.titles for row in rows}

    def image_key(self, image_id: str) -> str:
        """Return the key of a catalogue image in the image store, or raise NotFound."""
        with self._database.read() as session:
            key = session.scalar(select(Image.sha256).where(Image.id == image_id))
        if key is None:
            raise NotFound("There is no such image: its product may have been changed or deleted.")
        return key


def load_main_boxes(session: Session, image_ids: Iterable[str]) -> dict[str, Box]:
    """Return the box of each image's main object in the catalogue's live index version."""
    rows = session.execute(
        select(Detection.image_id, Detection.x0, Detection.y0, Detection.x1, Detection.y1)
        .join(IndexVersionRow, IndexVersionRow.id == Detection.index_version)
        .where(Detection.image_id.in_(list(image_ids)), Detection.number == 0)
        .where(IndexVersionRow.state == IndexState.LIVE)
    )
    return {image_id: (x0, y0, x1, y1) for image_id, x0, y0, x1, y1 in rows}


def load_images(session: Session, products: Iterable[int]) -> dict[int, list[Image]]:
    """Return the images of products by the products' row ids, in their order."""
    found: dict[int, list[Image]] = defaultdict(list)
    query = select(Image).where(Image.product.in_(list(products))).order_by(Image.product, Image.position)
    for image in session.scalars(query):
        found[image.product].append(image)
    return found


def _product_out(row: Product, images: Iterable[Image], boxes: dict[str, Box]) -> ProductOut:
    fields = {
        "product_id": row.product_id,
        "titles": row.titles,
        "category": row.category,
        "categories": row.categories,
        "price": trim_price(row.price),
        "currency": row.currency,
        "url": row.url,
        "tags": row.tags,
        "attributes": row.attributes,
        "images": [
            ImageOut(
                image_id=image.id,
                url=image_url(image.id),
                width=image.width,
                height=image.height,
                box=boxes.get(image.id),
            )
            for image in images
        ],
        "updated_at": to_datetime(row.updated_at),
    }
    return read_stored(ProductOut, fields, f"The product {row.product_id!r}")


def _catalogue_out(row: Catalogue, count: Count, live: IndexVersionRow | None) -> CatalogueOut:
    return CatalogueOut(
        name=row.name,
        products=count.products,
        images=count.images,
        currency=row.currency,
        index_version=live.collection if live else None,
        detector=live.detector if live else None,
        embedder=live.embedder if live else None,
        created_at=to_datetime(row.created_at),
    )
