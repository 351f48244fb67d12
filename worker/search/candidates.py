"""Load the products of candidates, and the stored pictures of products, from the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from sqlalchemy import BindParameter, bindparam, select

from shared.catalogue.store import image_url, trim_price
from shared.catalogue.titles import choose_title
from shared.contracts import Hit
from shared.contracts.base import Box
from shared.contracts.search import Boost, Explanation
from shared.contracts.stored import as_object
from shared.database import Database
from shared.database.tables import Detection, Image, Product
from shared.errors import UnknownProduct
from shared.filters import Filter, FilterFields, passes
from worker.search.boosting import Boosting
from worker.search.probabilities import HitProbability
from worker.search.stages import Candidate, Query
from worker.vision import Embeddings
from worker.vision.packing import unpack_embedding

#: Maximum number of ids in one statement: SQLite takes 32,766 parameters.
_MAX_IDS = 10_000


def _any_of(name: str) -> BindParameter[Any]:
    return bindparam(name, expanding=True)


_SHOWN = (
    Product.product_id,
    Product.titles,
    Product.category,
    Product.price,
    Product.currency,
    Product.url,
)

# Without the embedding, which is most of such a row.
_PLACED = (
    Detection.image_id,
    Detection.number,
    Detection.x0,
    Detection.y0,
    Detection.x1,
    Detection.y1,
)

# Built at import: constructing a statement costs more than executing it, and every search uses these.
_WANTED = (Product.catalogue_id == bindparam("catalogue"), Product.product_id.in_(_any_of("products")))
_PRODUCTS = select(*_SHOWN).where(*_WANTED)
_PRODUCTS_FILTERED = select(*_SHOWN, Product.facts).where(*_WANTED)
_OF_IMAGES = (
    Detection.image_id.in_(_any_of("images")),
    Detection.index_version == bindparam("version"),
)
_OBJECTS = select(*_PLACED).where(*_OF_IMAGES)
_OBJECTS_FILTERED = select(*_PLACED, Detection.colours).where(*_OF_IMAGES)


@dataclass(frozen=True, slots=True)
class _FilterRow:
    """A product's picture, as filters read it."""

    product_id: str
    category: str
    price: float | None
    facts: FilterFields


@dataclass(frozen=True, slots=True)
class _StoredObject:
    """An object of a picture: its box, and its colours where filters need them."""

    box: Box
    colours: tuple[str, ...] = ()


class CandidateTable:
    """Products and pictures of candidates, loaded for all searches of one index version in a batch.

    Args:
        currency: of prices without one.
        filtered: whether filters or boosts are applied, which read more columns.
    """

    def __init__(
        self, database: Database, catalogue_id: int, index_version: int, currency: str, *, filtered: bool
    ) -> None:
        self._database = database
        self._catalogue_id = catalogue_id
        self._index_version = index_version
        self._currency = currency
        self._product_query = _PRODUCTS_FILTERED if filtered else _PRODUCTS
        self._object_query = _OBJECTS_FILTERED if filtered else _OBJECTS
        self._products: dict[str, Any] = {}
        self._objects: dict[str, dict[int, _StoredObject]] = {}

    def load(self, candidates: Iterable[Candidate]) -> None:
        """Read products and pictures of candidates that were not read before."""
        needed = list(candidates)
        products = list({c.product_id for c in needed}.difference(self._products))
        images = list({c.image_id for c in needed}.difference(self._objects))
        if not products and not images:
            return
        self._products.update(dict.fromkeys(products))
        self._objects.update((image, {}) for image in images)
        with self._database.read_connection() as connection:
            for ids in _split(products):
                rows = connection.execute(
                    self._product_query, {"catalogue": self._catalogue_id, "products": ids}
                )
                self._products.update((row.product_id, row) for row in rows)
            for ids in _split(images):
                found = connection.execute(
                    self._object_query, {"images": ids, "version": self._index_version}
                )
                for image, number, x0, y0, x1, y1, *colours in found:
                    stored = _StoredObject((x0, y0, x1, y1), tuple(colours[0] or ()) if colours else ())
                    self._objects[image][number] = stored

    def is_available(self, candidate: Candidate, filter_: Filter | None) -> bool:
        """Return whether the product exists and passes; the index may lag behind the database."""
        product = self._products[candidate.product_id]
        if product is None or filter_ is None:
            return product is not None
        return passes(filter_, self._filter_row(candidate))

    def find_boosts(self, candidate: Candidate, boosting: Boosting) -> tuple[Boost, ...]:
        """Return the boosts whose filters the product passes."""
        if self._products[candidate.product_id] is None:
            return ()
        row = self._filter_row(candidate)
        pairs = zip(boosting.boosts, boosting.filters, strict=True)
        return tuple(boost for boost, filter_ in pairs if passes(filter_, row))

    def list_categories(self, candidates: Iterable[Candidate]) -> list[tuple[str, float]]:
        """Return category and score of each candidate that exists; the category may be empty."""
        found = ((self._products[c.product_id], c.score) for c in candidates)
        return [(str(product.category), score) for product, score in found if product is not None]

    def _filter_row(self, candidate: Candidate) -> _FilterRow:
        product = self._products[candidate.product_id]
        stored = self._objects[candidate.image_id].get(candidate.number)
        facts = FilterFields.from_json(as_object(product.facts))
        price = None if product.price is None else float(product.price)
        facts = facts.with_colours(stored.colours if stored else ())
        return _FilterRow(product.product_id, product.category, price, facts)

    def to_hit(
        self,
        candidate: Candidate,
        locale: str,
        query_box: Box | None,
        query_image_id: str | None,
        probability: HitProbability,
        explanation: Explanation | None,
    ) -> Hit:
        """Return the product as an answer shows it.

        Args:
            query_box, query_image_id: the part of the query that it matches.
        """
        product = self._products[candidate.product_id]
        stored = self._objects[candidate.image_id].get(candidate.number)
        price: Decimal | None = product.price
        return Hit(
            product_id=candidate.product_id,
            score=candidate.score,
            probability=probability[0],
            probability_kind=probability[1],
            image_id=candidate.image_id,
            image_url=image_url(candidate.image_id),
            title=choose_title(product.titles, locale, candidate.product_id),
            category=product.category,
            price=trim_price(price),
            currency=(product.currency or self._currency) if price is not None else None,
            url=product.url,
            box=clip_box(stored.box) if stored else None,
            query_box=query_box,
            query_image_id=query_image_id,
            explanation=explanation,
        )


def open_tables(database: Database, queries: Sequence[Query]) -> dict[int, CandidateTable]:
    """Return an empty table for each index version of a batch, by the version's row id."""
    filtered = {query.live.id for query in queries if query.filter is not None or query.boosting.boosts}
    return {
        query.live.id: CandidateTable(
            database,
            query.claim.catalogue_id,
            query.live.id,
            query.claim.currency,
            filtered=query.live.id in filtered,
        )
        for query in queries
    }


def _split(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _MAX_IDS):
        yield ids[start : start + _MAX_IDS]


@dataclass(frozen=True, slots=True)
class ProductPictures:
    """Embeddings of a product's pictures: ``(N, D)``, and the image id of each."""

    embeddings: Embeddings
    image_ids: tuple[str, ...]


def load_product_pictures(
    database: Database, catalogue_id: int, index_version: int, product_ids: Collection[str]
) -> dict[str, ProductPictures]:
    """Return the stored embeddings of products, by product id; no model is needed.

    Raises:
        UnknownProduct: one of them is gone, or has no image in the index.
    """
    found: dict[str, list[tuple[str, Embeddings]]] = defaultdict(list)
    with database.read() as session:
        rows = session.execute(
            select(Product.product_id, Detection.image_id, Detection.embedding)
            .join(Image, Image.id == Detection.image_id)
            .join(Product, Product.id == Image.product)
            .where(
                Product.catalogue_id == catalogue_id,
                Product.product_id.in_(product_ids),
                Detection.index_version == index_version,
            )
            .order_by(Image.position, Detection.number)
        )
        for product_id, image_id, blob in rows:
            found[product_id].append((image_id, unpack_embedding(blob)))
    for product_id in product_ids:
        if product_id not in found:
            raise UnknownProduct(f"Product {product_id!r} has no picture in the index.", "product_id")
    return {
        product_id: ProductPictures(np.stack([e for _, e in parts]), tuple(image for image, _ in parts))
        for product_id, parts in found.items()
    }


def clip_box(box: Box) -> Box:
    """Return the box rounded, and clipped to the picture."""
    x0, y0, x1, y1 = (round(min(max(float(v), 0.0), 1.0), 5) for v in box)
    return x0, y0, x1, y1
