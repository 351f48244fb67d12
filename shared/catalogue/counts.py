"""Count products and pictures of catalogues, again only after changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.database.tables import Catalogue, Image, Product

#: Maximum share of a process's time for counting a catalogue that changes continuously.
_MAX_SHARE: Final = 0.05
#: Maximum number of products of a catalogue that is counted after each change, which takes milliseconds.
_SMALL: Final = 10_000


class Count(NamedTuple):
    """Numbers of products and pictures, and the change number of the catalogue that they are valid for."""

    products: int
    images: int
    changes: int
    counted_at: float
    took_s: float


class CatalogueCounts:
    """Caches counts of products and pictures.

    A count is exact for its change number, which every transaction that writes products increases. Counting
    30 million products takes seconds, so a large catalogue that changes continuously is counted only so often
    that this takes 5 % of the time.
    """

    def __init__(self) -> None:
        self._known: dict[int, Count] = {}

    def of(self, session: Session, catalogues: Sequence[Catalogue]) -> dict[int, Count]:
        """Return the counts by the catalogues' row ids."""
        due = [row for row in catalogues if self._is_due(row)]
        if due:
            self._known |= _counted(session, due)
        return {row.id: self._known[row.id] for row in catalogues}

    def _is_due(self, row: Catalogue) -> bool:
        known = self._known.get(row.id)
        if known is None:
            return True
        if known.changes == row.changes:
            return False
        return known.products <= _SMALL or time.monotonic() - known.counted_at >= known.took_s / _MAX_SHARE


def _counted(session: Session, rows: Sequence[Catalogue]) -> dict[int, Count]:
    """Count with two statements for all catalogues."""
    began = time.monotonic()
    of_them = select(Product.catalogue_id, func.count()).where(
        Product.catalogue_id.in_([row.id for row in rows])
    )
    products = dict(session.execute(of_them.group_by(Product.catalogue_id)).all())
    images = _count_images(session, products)
    ended = time.monotonic()
    return {
        row.id: Count(products.get(row.id, 0), images.get(row.id, 0), row.changes, ended, ended - began)
        for row in rows
    }


def _count_images(session: Session, products: dict[int, int]) -> dict[int, int]:
    """Count the pictures of catalogues, given their numbers of products."""
    by_catalogue = (
        select(Product.catalogue_id, func.count())
        .join(Image, Image.product == Product.id)
        .group_by(Product.catalogue_id)
    )
    total = session.scalar(select(func.count()).select_from(Image)) or 0
    largest = max(products, key=lambda catalogue: products[catalogue], default=None)
    if largest is None or products[largest] <= total / 2:
        return dict(session.execute(by_catalogue.where(Product.catalogue_id.in_(list(products)))).all())
    # All pictures without those of the others: a join with most of the table takes .35 s at a million.
    images = dict(session.execute(by_catalogue.where(Product.catalogue_id != largest)).all())
    return {**images, largest: total - sum(images.values())}
