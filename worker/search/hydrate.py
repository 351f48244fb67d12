"""From neighbours in the index to products in an answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from sqlalchemy import BindParameter, bindparam, select

from shared.catalogue.store import image_url, trim_price
from shared.catalogue.titles import choose_title
from shared.contracts import Hit
from shared.contracts.search import Boost, Explanation
from shared.contracts.stored import as_object
from shared.database import Database
from shared.database.tables import Detection, Image, Product
from shared.errors import UnknownProduct
from shared.filters import Filter, FilterFields, passes
from worker.search.boosting import Boosting
from worker.search.grouping import Candidate
from worker.vision import Embeddings
from worker.vision.packing import unpack_embedding

Box = tuple[float, float, float, float]


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

# Made once: every search asks them.
_WANTED = (Product.catalogue_id == bindparam("catalogue"), Product.product_id.in_(_any_of("products")))
_PRODUCTS = select(*_SHOWN).where(*_WANTED)
_PRODUCTS_FILTERED = select(*_SHOWN, Product.facts).where(*_WANTED)
_OF_IMAGES = (
    Detection.image_id.in_(_any_of("images")),
    Detection.index_version == bindparam("version"),
)
_PLACES = select(*_PLACED).where(*_OF_IMAGES)
_PLACES_FILTERED = select(*_PLACED, Detection.colours).where(*_OF_IMAGES)


@dataclass(frozen=True, slots=True)
class _Row:
    """A product's picture, as filters see it."""

    product_id: str
    category: str
    price: float | None
    facts: FilterFields


@dataclass(frozen=True, slots=True)
class _Place:
    """An object of a picture: where it is, and its colours where they are asked for."""

    box: Box
    colours: tuple[str, ...] = ()


class Hydrator:
    """Looks up products that searches of one index version found, when they are to be shown.

    Args:
        currency: of prices that name none.
        filtered: whether ``keeps`` or ``boosts`` will be asked: then what filters know is read too.
    """

    def __init__(
        self, database: Database, catalogue_id: int, index_version: int, currency: str, *, filtered: bool
    ) -> None:
        self._database = database
        self._catalogue_id = catalogue_id
        self._index_version = index_version
        self._currency = currency
        self._products_of = _PRODUCTS_FILTERED if filtered else _PRODUCTS
        self._places_of = _PLACES_FILTERED if filtered else _PLACES
        self._products: dict[str, Any] = {}
        self._places: dict[str, dict[int, _Place]] = {}

    def load(self, wanted: Iterable[Candidate]) -> None:
        """Read what is not known of these products and pictures."""
        found = list(wanted)
        products = {c.product_id for c in found}.difference(self._products)
        images = {c.image_id for c in found}.difference(self._places)
        with self._database.read_connection() as connection:
            if products:
                self._products.update(dict.fromkeys(products))
                rows = connection.execute(
                    self._products_of, {"catalogue": self._catalogue_id, "products": list(products)}
                )
                self._products.update((row.product_id, row) for row in rows)
            if images:
                self._places.update((image, {}) for image in images)
                seen = connection.execute(
                    self._places_of, {"images": list(images), "version": self._index_version}
                )
                for image, number, x0, y0, x1, y1, *colours in seen:
                    place = _Place((x0, y0, x1, y1), tuple(colours[0] or ()) if colours else ())
                    self._places[image][number] = place

    def knows(self, candidate: Candidate) -> bool:
        """Return whether ``load`` has read the product and its picture."""
        return candidate.product_id in self._products and candidate.image_id in self._places

    def keeps(self, candidate: Candidate, filter_: Filter | None) -> bool:
        """Whether the product is still there and passes; the index may know it as it was a moment ago."""
        product = self._products[candidate.product_id]
        if product is None or filter_ is None:
            return product is not None
        return passes(filter_, self._row(candidate))

    def boosts(self, candidate: Candidate, boosting: Boosting) -> tuple[Boost, ...]:
        """Return those boosts that the product passes."""
        if self._products[candidate.product_id] is None:
            return ()
        row = self._row(candidate)
        pairs = zip(boosting.boosts, boosting.filters, strict=True)
        return tuple(boost for boost, filter_ in pairs if passes(filter_, row))

    def category(self, candidate: Candidate) -> str:
        """Return the product's category, empty where it has none or is gone."""
        product = self._products[candidate.product_id]
        return "" if product is None else str(product.category)

    def _row(self, candidate: Candidate) -> _Row:
        product = self._products[candidate.product_id]
        place = self._places[candidate.image_id].get(candidate.number)
        facts = FilterFields.from_json(as_object(product.facts))
        price = None if product.price is None else float(product.price)
        facts = facts.with_colours(place.colours if place else ())
        return _Row(product.product_id, product.category, price, facts)

    def hit(
        self,
        candidate: Candidate,
        locale: str,
        query_box: Box | None = None,
        query_image_id: str | None = None,
        sure: tuple[float | None, float | None] = (None, None),
        explanation: Explanation | None = None,
    ) -> Hit:
        """Return the product as an answer shows it.

        Args:
            query_box, query_image_id: the part of the query that it matches.
            sure: how probable it is that it is the same product, and one of the same kind.
        """
        product = self._products[candidate.product_id]
        place = self._places[candidate.image_id].get(candidate.number)
        price: Decimal | None = product.price
        return Hit(
            product_id=candidate.product_id,
            score=candidate.score,
            probability=sure[0],
            probability_kind=sure[1],
            image_id=candidate.image_id,
            image_url=image_url(candidate.image_id),
            title=choose_title(product.titles, locale, candidate.product_id),
            category=product.category,
            price=trim_price(price),
            currency=(product.currency or self._currency) if price is not None else None,
            url=product.url,
            box=unit_box(place.box) if place else None,
            query_box=query_box,
            query_image_id=query_image_id,
            explanation=explanation,
        )


@dataclass(frozen=True, slots=True)
class Pictures:
    """The main objects and others of a product's pictures: ``(N, D)``, and the picture of each."""

    embeddings: Embeddings
    image_ids: tuple[str, ...]


def product_pictures(
    database: Database, catalogue_id: int, index_version: int, product_ids: Collection[str]
) -> dict[str, Pictures]:
    """Return the stored embeddings of products, by id; no model is needed.

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
        product_id: Pictures(np.stack([e for _, e in parts]), tuple(image for image, _ in parts))
        for product_id, parts in found.items()
    }


def unit_box(box: Box) -> Box:
    """Return the box without what rounding left outside of the picture."""
    x0, y0, x1, y1 = (round(min(max(float(v), 0.0), 1.0), 5) for v in box)
    return x0, y0, x1, y1
