"""Read products for the storefront with queries that stay fast for large catalogues."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from shared.catalogue.display import choose_title, image_url
from shared.contracts.states import IndexState
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.tables import Catalogue, Detection, Image, IndexVersionRow, Product

_PRODUCTS = (
    select(Product.product_id, Product.titles, Image.id, Image.width, Image.height)
    .join(Image, Image.product == Product.id)
    .where(Image.position == 0)
)


@dataclass(frozen=True)
class WindowProduct:
    """A product on the storefront: its title in the reader's language, and its first picture."""

    product_id: str
    title: str
    image_url: str
    width: int
    height: int


@dataclass(frozen=True)
class ShownFacts:
    """What a result page shows of products besides their hits.

    Attributes:
        category_names: names of categories in the reader's language, by category.
        brands: `attributes.brand` by product id, where it is a text.
        colours: names of colours of the live index's objects, by image id.
    """

    category_names: dict[str, str] = field(default_factory=dict)
    brands: dict[str, str] = field(default_factory=dict)
    colours: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def category_name(self, category: str) -> str:
        """Return the name of a category in the reader's language, or the category itself."""
        return self.category_names.get(category, category)


class ShopWindow:
    """Reads catalogue names and a few products without counting a catalogue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def catalogues(self) -> list[str]:
        """Return the names of all catalogues in alphabetical order."""
        with self._database.read() as session:
            names = select(Catalogue.name).where(Catalogue.deleted_name.is_(None))
            return list(session.scalars(names.order_by(Catalogue.name)))

    def currency(self, catalogue: str) -> str:
        """Return the default currency of the catalogue, or raise UnknownCatalogue."""
        with self._database.read() as session:
            return find_catalogue(session, catalogue).currency

    def find_product(self, catalogue: str, product_id: str, locale: str) -> WindowProduct | None:
        """Return a product, None if the catalogue does not have it."""
        with self._database.read() as session:
            row = session.execute(
                _PRODUCTS.join(Catalogue, Catalogue.id == Product.catalogue_id).where(
                    Catalogue.name == catalogue, Product.product_id == product_id
                )
            ).first()
            return None if row is None else _window_product(row, locale)

    def shown_facts(
        self, catalogue: str, product_ids: Collection[str], image_ids: Collection[str], locale: str
    ) -> ShownFacts:
        """Return category names and brands of the products, and colours of the pictures."""
        with self._database.read() as session:
            products = session.execute(
                select(Product.product_id, Product.category, Product.categories, Product.attributes)
                .join(Catalogue, Catalogue.id == Product.catalogue_id)
                .where(Catalogue.name == catalogue, Product.product_id.in_(product_ids))
            ).all()
            objects = session.execute(
                select(Detection.image_id, Detection.colours)
                .join(IndexVersionRow, IndexVersionRow.id == Detection.index_version)
                .where(Detection.image_id.in_(image_ids), IndexVersionRow.state == IndexState.LIVE)
            ).all()
        return ShownFacts(
            {row.category: choose_title(row.categories, locale, row.category) for row in products},
            {row.product_id: brand for row in products if (brand := _brand(row.attributes))},
            _colours(objects),
        )

    def sample_products(self, catalogue: str, locale: str, count: int, turn: int) -> list[WindowProduct]:
        """Return products spread evenly over a catalogue; mostly the same for the same ``turn``.

        Args:
            count: maximum number of products.
            turn: selects a sample; the next number selects another.

        Raises:
            UnknownCatalogue.
        """
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            in_catalogue = Product.catalogue_id == catalogue_row.id
            first = session.scalar(select(func.min(Product.id)).where(in_catalogue))
            last = session.scalar(select(func.max(Product.id)).where(in_catalogue))
            if first is None or last is None:
                return []
            step = max(1, (last - first + 1) // count)
            found: dict[str, WindowProduct] = {}
            for n in range(count):
                start = first + n * step + turn % step
                row = session.execute(
                    _PRODUCTS.where(in_catalogue, Product.id >= start).order_by(Product.id).limit(1)
                ).first()
                if row is not None:
                    found[row.product_id] = _window_product(row, locale)
            return list(found.values())


def _window_product(row: Any, locale: str) -> WindowProduct:
    title = choose_title(row.titles, locale, row.product_id)
    return WindowProduct(row.product_id, title, image_url(row.id), row.width, row.height)


def _brand(attributes: Mapping[str, Any]) -> str:
    brand = attributes.get("brand") if isinstance(attributes, Mapping) else None
    return brand if isinstance(brand, str) else ""


def _colours(objects: Iterable[Any]) -> dict[str, tuple[str, ...]]:
    """Collect the colours of each picture's objects, without repetition."""
    found: dict[str, tuple[str, ...]] = {}
    for row in objects:
        new = [colour for colour in row.colours or () if colour not in found.get(row.image_id, ())]
        found[row.image_id] = (*found.get(row.image_id, ()), *new)
    return found
