"""Read products for the storefront with queries that stay fast for large catalogues."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from shared.catalogue.display import choose_title, image_url
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.tables import Catalogue, Image, Product

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

    def category_names(self, catalogue: str, product_ids: Collection[str], locale: str) -> dict[str, str]:
        """Return the localised names of these products' categories, by category."""
        with self._database.read() as session:
            rows = session.execute(
                select(Product.category, Product.categories)
                .join(Catalogue, Catalogue.id == Product.catalogue_id)
                .where(Catalogue.name == catalogue, Product.product_id.in_(product_ids))
            )
            return {name: choose_title(names, locale, name) for name, names in rows}

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
