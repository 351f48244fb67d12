"""Load candidates from the database and choose among those that exist; load example products."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import BindParameter, bindparam, select

from shared.contracts.base import Box
from shared.contracts.search import Boost
from shared.contracts.stored import as_object
from shared.database import Database
from shared.database.tables import Detection, Image, Product
from shared.errors import UnknownProduct
from shared.filters import Filter, FilterFields, passes
from worker.search.boosting import Boosting, factor_of
from worker.search.choosing import apply_boosts, boost_window, choose, list_eligible
from worker.search.stages import Candidate, Choice, Query, RankedQuery
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
class StoredObject:
    """An object of a picture: its box, and its colours where filters need them."""

    box: Box
    colours: tuple[str, ...] = ()


class CandidateTable:
    """Products and pictures of candidates, loaded for all searches of one index version in a batch.

    Args:
        currency: of prices without one.
        filtered: whether filters or boosts are applied, which read more columns.

    Attributes:
        products: row of each product that was read, by its id; None where it is gone.
        objects: objects of each picture that was read, by image id and the object's number.
    """

    def __init__(
        self, database: Database, catalogue_id: int, index_version: int, currency: str, *, filtered: bool
    ) -> None:
        self._database = database
        self._catalogue_id = catalogue_id
        self._index_version = index_version
        self.currency = currency
        self._product_query = _PRODUCTS_FILTERED if filtered else _PRODUCTS
        self._object_query = _OBJECTS_FILTERED if filtered else _OBJECTS
        self.products: dict[str, Any] = {}
        self.objects: dict[str, dict[int, StoredObject]] = {}

    def load(self, candidates: Iterable[Candidate]) -> None:
        """Read products and pictures of candidates that were not read before."""
        needed = list(candidates)
        products = list({c.product_id for c in needed}.difference(self.products))
        images = list({c.image_id for c in needed}.difference(self.objects))
        if not products and not images:
            return
        self.products.update(dict.fromkeys(products))
        self.objects.update((image, {}) for image in images)
        with self._database.read_connection() as connection:
            for start in range(0, len(products), _MAX_IDS):
                ids = {"catalogue": self._catalogue_id, "products": products[start : start + _MAX_IDS]}
                rows = connection.execute(self._product_query, ids)
                self.products.update((row.product_id, row) for row in rows)
            for start in range(0, len(images), _MAX_IDS):
                ids = {"version": self._index_version, "images": images[start : start + _MAX_IDS]}
                found = connection.execute(self._object_query, ids)
                for image, number, x0, y0, x1, y1, *colours in found:
                    stored = StoredObject((x0, y0, x1, y1), tuple(colours[0] or ()) if colours else ())
                    self.objects[image][number] = stored

    def is_available(self, candidate: Candidate, filter_: Filter | None) -> bool:
        """Return whether the product exists and passes; the index may lag behind the database."""
        product = self.products[candidate.product_id]
        if product is None or filter_ is None:
            return product is not None
        return passes(filter_, self._filter_row(candidate))

    def find_boosts(self, candidate: Candidate, boosting: Boosting) -> tuple[Boost, ...]:
        """Return the boosts whose filters the product passes."""
        if self.products[candidate.product_id] is None:
            return ()
        row = self._filter_row(candidate)
        pairs = zip(boosting.boosts, boosting.filters, strict=True)
        return tuple(boost for boost, filter_ in pairs if passes(filter_, row))

    def _filter_row(self, candidate: Candidate) -> _FilterRow:
        product = self.products[candidate.product_id]
        stored = self.objects[candidate.image_id].get(candidate.number)
        facts = FilterFields.from_json(as_object(product.facts))
        price = None if product.price is None else float(product.price)
        facts = facts.with_colours(stored.colours if stored else ())
        return _FilterRow(product.product_id, product.category, price, facts)


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


def choose_available(queries: Sequence[RankedQuery], tables: dict[int, CandidateTable]) -> list[Choice]:
    """Choose what each query shows, and load its products.

    Index and database nearly always agree. Therefore the first choice takes every candidate as available,
    and only its products are read, for all queries together. If one of them is gone, or no longer passes the
    filter, all candidates of its query are read, and it chooses again.
    """
    queries = [_apply_boosts(query, tables[query.matched.query.live.id]) for query in queries]
    choices = [choose(query, lambda _: True) for query in queries]
    needed: dict[int, list[Candidate]] = defaultdict(list)
    for query, choice in zip(queries, choices, strict=True):
        needed[query.matched.query.live.id] += _list_needed(choice)
    for version, candidates in needed.items():
        tables[version].load(candidates)
    return [
        _choose_again(query, choice, tables[query.matched.query.live.id])
        for query, choice in zip(queries, choices, strict=True)
    ]


def _list_needed(choice: Choice) -> list[Candidate]:
    """List the candidates whose products the answer needs."""
    return [candidate for group in (*choice.chosen, *choice.voters) for candidate in group]


def _apply_boosts(query: RankedQuery, table: CandidateTable) -> RankedQuery:
    """Reorder by boosts, which need the products of all near candidates."""
    boosting = query.matched.query.boosting
    if not boosting.boosts:
        return query
    window = boost_window(query.matched)
    table.load(c for group in query.nearest for c in group if c.rank < window)
    return apply_boosts(query, lambda candidate: factor_of(table.find_boosts(candidate, boosting)))


def _choose_again(query: RankedQuery, choice: Choice, table: CandidateTable) -> Choice:
    """Return the choice, or another one if a chosen product is not available."""
    filter_ = query.matched.query.filter
    if all(table.is_available(candidate, filter_) for group in choice.chosen for candidate in group):
        return choice
    table.load(list_eligible(query))
    available = choose(query, lambda candidate: table.is_available(candidate, filter_))
    table.load(_list_needed(available))
    return available


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
