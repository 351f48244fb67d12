"""From pairs of duplicates to groups, each around the product that is to be kept.

Pairs are not simply joined: A like B, B like C and so on would end with products that have nothing in
common. Instead products are taken in the order in which they are worth keeping; each that is in no group
yet begins one, and takes those that are its own duplicates and in no group either. So every product of a
group was compared with the one to keep, and memory holds a number a product, not the pairs.
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

#: Most products of a group: a picture such as "no photo yet" that thousands share makes several.
MOST = 200
_PAGE = 5000
_ID_BITS, _FIELD_BITS = 44, 4


@dataclass(frozen=True, slots=True)
class Member:
    """A product's place in a group.

    Attributes:
        product: its row id.
        image_id: the picture that is alike.
        score: likeness to the product to keep, 1 for the same bytes.
    """

    product: int
    image_id: str
    score: float


#: From a session and a product to its duplicates: what it shows, and they.
Duplicates = Callable[[Session, int], list[tuple[str, Member]]]


class Order:
    """Products in the order in which they are worth keeping, and which are in a group by now.

    Args:
        ranked: from ``in_order``.
    """

    def __init__(self, ranked: NDArray[np.int64]) -> None:
        self._ids = np.sort(ranked & ((1 << _ID_BITS) - 1))
        self._in_order = np.sort(ranked) & ((1 << _ID_BITS) - 1)
        self._group = np.zeros(len(ranked), np.int32)

    def __iter__(self) -> Iterator[int]:
        return map(int, self._in_order)

    def group_of(self, product: int) -> int:
        """Return the number of the product's group, 0 for none."""
        place = int(np.searchsorted(self._ids, product))
        known = place < len(self._ids) and self._ids[place] == product
        return int(self._group[place]) if known else 0

    def put(self, product: int, group: int) -> None:
        self._group[np.searchsorted(self._ids, product)] = group


def in_order(database: Database, catalogue_id: int, products: Select[Any]) -> NDArray[np.int64]:
    """Return a number for each product, smaller for one more worth keeping: most pictures, then most
    fields, then the oldest; the last bits are its row id."""
    pictures = select(func.count()).where(Image.product == Product.id).correlate(Product).scalar_subquery()
    query = select(Product.id, pictures, _fields()).where(
        Product.catalogue_id == catalogue_id, Product.id.in_(products)
    )
    found: list[NDArray[np.int64]] = []
    with database.read() as session:
        for page in session.execute(query.execution_options(yield_per=_PAGE)).partitions():
            rows = np.array([tuple(row) for row in page], np.int64)
            images, fields = np.minimum(rows[:, 1], 255), rows[:, 2]
            worth = ((255 - images) << _FIELD_BITS) | (15 - fields)
            found.append((worth << _ID_BITS) | rows[:, 0])
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def groups(
    database: Database, order: Order, duplicates: Duplicates, first: int, pulse: Callable[[], None]
) -> Iterator[tuple[int, list[Member]]]:
    """Yield groups with their numbers, from ``first`` on; the member to keep comes first.

    Args:
        pulse: called between products.
    """
    number = first
    for product in order:
        pulse()
        if order.group_of(product):
            continue
        with database.read() as session:
            free = [found for found in duplicates(session, product) if not order.group_of(found[1].product)]
        if not free:
            continue
        free.sort(key=lambda found: (-found[1].score, found[1].product))
        members: dict[int, Member] = {product: Member(product, free[0][0], 1.0)}
        for _, member in free:
            if len(members) < MOST:
                members.setdefault(member.product, member)
        for member in members.values():
            order.put(member.product, number)
        yield number, list(members.values())
        number += 1


def select_sharing_bytes(catalogue_id: int) -> Select[Any]:
    """Select the products that have a picture whose bytes another product of the catalogue has."""
    shared = (
        select(Image.sha256)
        .join(Product, Product.id == Image.product)
        .where(Product.catalogue_id == catalogue_id)
        .group_by(Image.sha256)
        .having(func.count(Image.product.distinct()) > 1)
    )
    return select(Image.product).where(Image.sha256.in_(shared))


def exact_duplicates(catalogue_id: int) -> Duplicates:
    """Return what finds the products that have a picture of a product, byte by byte."""

    def find(session: Session, product: int) -> list[tuple[str, Member]]:
        own = dict(session.execute(select(Image.sha256, Image.id).where(Image.product == product)).all())
        rows = session.execute(
            select(Image.product, Image.id, Image.sha256)
            .join(Product, Product.id == Image.product)
            .where(Product.catalogue_id == catalogue_id, Image.sha256.in_(own), Image.product != product)
            .limit(_PAGE)
        )
        return [(own[row.sha256], Member(row.product, row.id, 1.0)) for row in rows]

    return find


def in_pairs(job_id: str) -> Select[Any]:
    """Select the products that are in the job's pairs."""
    pairs = union(
        select(DuplicatePair.left_product).where(DuplicatePair.job_id == job_id),
        select(DuplicatePair.right_product).where(DuplicatePair.job_id == job_id),
    ).subquery()
    return select(pairs.c[0])


def alike(job_id: str, exact: Order) -> Duplicates:
    """Return what finds the job's pairs of a product, without those that are in its exact group."""

    def find(session: Session, product: int) -> list[tuple[str, Member]]:
        rows = session.scalars(
            select(DuplicatePair)
            .where(
                DuplicatePair.job_id == job_id,
                or_(DuplicatePair.left_product == product, DuplicatePair.right_product == product),
            )
            .limit(_PAGE)
        )
        found = []
        for pair in rows:
            if pair.left_product == product:
                shown, other = pair.left_image, Member(pair.right_product, pair.right_image, pair.score)
            else:
                shown, other = pair.right_image, Member(pair.left_product, pair.left_image, pair.score)
            group = exact.group_of(product)
            if not group or group != exact.group_of(other.product):
                found.append((shown, other))
        return found

    return find


def names_of(session: Session, products: Sequence[int]) -> dict[int, str]:
    """Return the product ids by row id, of those that are still there."""
    query = select(Product.id, Product.product_id).where(Product.id.in_(products))
    return dict(session.execute(query).all())


def _fields() -> ColumnElement[int]:
    """How many of six fields a product has: titles, category, price, address, tags, attributes."""
    there = (
        cast(Product.titles, Text) != "{}",
        Product.category != "",
        Product.price.is_not(None),
        Product.url.is_not(None),
        cast(Product.tags, Text) != "[]",
        cast(Product.attributes, Text) != "{}",
    )
    total: ColumnElement[int] = case((there[0], 1), else_=0)
    for one in there[1:]:
        total = total + case((one, 1), else_=0)
    return total
