"""Group pairs of duplicates, each group around the product to keep.

Pairs are not joined transitively: a chain of similar products would end with products that have nothing in
common. Instead, products are visited in order of their worth. Each that has no group yet starts one, and adds
those of its own duplicates that have none. So each product of a group was compared with the one to keep, and
memory holds one number per product instead of all pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, Text, case, cast, func, or_, select, union
from sqlalchemy.orm import Session

from shared.database import Database
from shared.database.tables import DuplicatePair, Image, Product

#: Maximum number of products in a group; a placeholder picture that thousands share makes several groups.
MAX_MEMBERS = 200
_PAGE_ROWS = 5000
#: Bits of a product's row id and of its number of fields in a rank.
_ID_BITS, _FIELD_BITS = 44, 4


@dataclass(frozen=True, slots=True)
class Member:
    """A product of a group.

    Attributes:
        product: its row id.
        image_id: the similar picture.
        score: similarity to the product to keep, 1 for identical bytes.
    """

    product: int
    image_id: str
    score: float


#: Finds the duplicates of a product: pairs of its own image id and a member.
Duplicates = Callable[[Session, int], list[tuple[str, Member]]]


class ProductRanking:
    """Products ordered by worth, with the group of each.

    Args:
        ranked: from ``rank_products``.
    """

    def __init__(self, ranked: NDArray[np.int64]) -> None:
        self._ids = np.sort(ranked & ((1 << _ID_BITS) - 1))
        self._in_order = np.sort(ranked) & ((1 << _ID_BITS) - 1)
        self._group = np.zeros(len(ranked), np.int32)

    def __iter__(self) -> Iterator[int]:
        return map(int, self._in_order)

    def group_of(self, product: int) -> int:
        """Return the number of the product's group, 0 for none."""
        index = int(np.searchsorted(self._ids, product))
        known = index < len(self._ids) and self._ids[index] == product
        return int(self._group[index]) if known else 0

    def assign(self, product: int, group: int) -> None:
        """Assign a product to a group."""
        self._group[np.searchsorted(self._ids, product)] = group


def rank_products(database: Database, catalogue_id: int, products: Select[Any]) -> NDArray[np.int64]:
    """Return a rank for each product, smaller for products of more worth.

    Worth is the number of pictures, then of fields, then age; the lowest bits of a rank are the row id.
    """
    pictures = select(func.count()).where(Image.product == Product.id).correlate(Product).scalar_subquery()
    query = select(Product.id, pictures, _count_fields()).where(
        Product.catalogue_id == catalogue_id, Product.id.in_(products)
    )
    found: list[NDArray[np.int64]] = []
    with database.read() as session:
        for page in session.execute(query.execution_options(yield_per=_PAGE_ROWS)).partitions():
            rows = np.array([tuple(row) for row in page], np.int64)
            images, fields = np.minimum(rows[:, 1], 255), rows[:, 2]
            worth = ((255 - images) << _FIELD_BITS) | (15 - fields)
            found.append((worth << _ID_BITS) | rows[:, 0])
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def generate_groups(
    database: Database,
    order: ProductRanking,
    duplicates: Duplicates,
    first: int,
    heartbeat: Callable[[], None],
) -> Iterator[tuple[int, list[Member]]]:
    """Yield groups with their numbers, from ``first`` on; the product to keep is the first member.

    Args:
        heartbeat: called between products.
    """
    number = first
    for product in order:
        heartbeat()
        if order.group_of(product):
            continue
        with database.read() as session:
            free = [found for found in duplicates(session, product) if not order.group_of(found[1].product)]
        if not free:
            continue
        free.sort(key=lambda found: (-found[1].score, found[1].product))
        members: dict[int, Member] = {product: Member(product, free[0][0], 1.0)}
        for _, member in free:
            if len(members) < MAX_MEMBERS:
                members.setdefault(member.product, member)
        for member in members.values():
            order.assign(member.product, number)
        yield number, list(members.values())
        number += 1


def select_sharing_bytes(catalogue_id: int) -> Select[Any]:
    """Select products with a picture whose bytes another product of the catalogue has too."""
    shared = (
        select(Image.sha256)
        .join(Product, Product.id == Image.product)
        .where(Product.catalogue_id == catalogue_id)
        .group_by(Image.sha256)
        .having(func.count(Image.product.distinct()) > 1)
    )
    return select(Image.product).where(Image.sha256.in_(shared))


def exact_duplicates(catalogue_id: int) -> Duplicates:
    """Return a finder of products that share a picture with a product, byte by byte."""

    def find(session: Session, product: int) -> list[tuple[str, Member]]:
        own = dict(session.execute(select(Image.sha256, Image.id).where(Image.product == product)).all())
        rows = session.execute(
            select(Image.product, Image.id, Image.sha256)
            .join(Product, Product.id == Image.product)
            .where(Product.catalogue_id == catalogue_id, Image.sha256.in_(own), Image.product != product)
            .limit(_PAGE_ROWS)
        )
        return [(own[row.sha256], Member(row.product, row.id, 1.0)) for row in rows]

    return find


def select_in_pairs(job_id: str) -> Select[Any]:
    """Select the products in the job's pairs."""
    pairs = union(
        select(DuplicatePair.left_product).where(DuplicatePair.job_id == job_id),
        select(DuplicatePair.right_product).where(DuplicatePair.job_id == job_id),
    ).subquery()
    return select(pairs.c[0])


def near_duplicates(job_id: str, exact: ProductRanking) -> Duplicates:
    """Return a finder of a product's partners in the job's pairs, without members of its exact group."""

    def find(session: Session, product: int) -> list[tuple[str, Member]]:
        rows = session.scalars(
            select(DuplicatePair)
            .where(
                DuplicatePair.job_id == job_id,
                or_(DuplicatePair.left_product == product, DuplicatePair.right_product == product),
            )
            .limit(_PAGE_ROWS)
        )
        found = []
        for pair in rows:
            if pair.left_product == product:
                own, other = pair.left_image, Member(pair.right_product, pair.right_image, pair.score)
            else:
                own, other = pair.right_image, Member(pair.left_product, pair.left_image, pair.score)
            group = exact.group_of(product)
            if not group or group != exact.group_of(other.product):
                found.append((own, other))
        return found

    return find


def load_product_ids(session: Session, products: Sequence[int]) -> dict[int, str]:
    """Load product ids by row id; deleted products are left out."""
    query = select(Product.id, Product.product_id).where(Product.id.in_(products))
    return dict(session.execute(query).all())


def _count_fields() -> ColumnElement[int]:
    """Count which of six fields a product has: titles, category, price, URL, tags, attributes."""
    conditions = (
        cast(Product.titles, Text) != "{}",
        Product.category != "",
        Product.price.is_not(None),
        Product.url.is_not(None),
        cast(Product.tags, Text) != "[]",
        cast(Product.attributes, Text) != "{}",
    )
    total: ColumnElement[int] = case((conditions[0], 1), else_=0)
    for condition in conditions[1:]:
        total = total + case((condition, 1), else_=0)
    return total
