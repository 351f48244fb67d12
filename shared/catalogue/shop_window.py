"""What the shopper's pages read of the catalogues, quick however large these are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from shared.catalogue.store import choose_title, image_url
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.tables import Catalogue, Image, Product

_SHOWN = (
    select(Product.product_id, Product.titles, Image.id, Image.width, Image.height)
    .join(Image, Image.product == Product.id)
    .where(Image.position == 0)
)


@dataclass(frozen=True)
class WindowProduct:
    """A product in the window: its title in the reader's language, and its first picture."""

    product_id: str
    title: str
    image_url: str
    width: int
    height: int


class ShopWindow:
    """Reads names and a few products without counting what a catalogue holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def catalogues(self) -> list[str]:
        """Return the names of all catalogues, in their order."""
        with self._database.read() as session:
            there = select(Catalogue.name).where(Catalogue.deleted_name.is_(None))
            return list(session.scalars(there.order_by(Catalogue.name)))

    def currency(self, catalogue: str) -> str:
        """Return the currency of prices that name none, or raise UnknownCatalogue."""
        with self._database.read() as session:
            return find_catalogue(session, catalogue).currency

    def find_product(self, catalogue: str, product_id: str, locale: str) -> WindowProduct | None:
        """Return a product, None if it is not, or no longer, in the catalogue."""
        with self._database.read() as session:
            row = session.execute(
                _SHOWN.join(Catalogue, Catalogue.id == Product.catalogue_id).where(
                    Catalogue.name == catalogue, Product.product_id == product_id
                )
            ).first()
            return None if row is None else _shown(row, locale)

    def category_names(self, catalogue: str, product_ids: Collection[str], locale: str) -> dict[str, str]:
        """Return what the categories of these products are called in the reader's language, by category."""
        with self._database.read() as session:
            rows = session.execute(
                select(Product.category, Product.categories)
                .join(Catalogue, Catalogue.id == Product.catalogue_id)
                .where(Catalogue.name == catalogue, Product.product_id.in_(product_ids))
            )
            return {name: choose_title(names, locale, name) for name, names in rows}

    def sample_products(self, catalogue: str, locale: str, count: int, turn: int) -> list[WindowProduct]:
        """Return products from all over a catalogue: the same ones for the same ``turn``, mostly.

        Args:
            count: most products to return.
            turn: any number; others with the next one.

        Raises:
            UnknownCatalogue.
        """
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            of_it = Product.catalogue_id == catalogue_row.id
            first = session.scalar(select(func.min(Product.id)).where(of_it))
            last = session.scalar(select(func.max(Product.id)).where(of_it))
            if first is None or last is None:
                return []
            step = max(1, (last - first + 1) // count)
            found: dict[str, WindowProduct] = {}
            for n in range(count):
                start = first + n * step + turn % step
                row = session.execute(
                    _SHOWN.where(of_it, Product.id >= start).order_by(Product.id).limit(1)
                ).first()
                if row is not None:
                    found[row.product_id] = _shown(row, locale)
            return list(found.values())


def _shown(row: Any, locale: str) -> WindowProduct:
    title = choose_title(row.titles, locale, row.product_id)
    return WindowProduct(row.product_id, title, image_url(row.id), row.width, row.height)
