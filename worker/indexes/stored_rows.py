"""Rows of the index from what the database has of products: no picture, no model, two statements a batch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from shared.database.tables import Catalogue, Detection, Image, Product
from shared.filters import FilterFields
from worker.indexes.rows import row_key
from worker.vector_index.contract import IndexRow
from worker.vision import Embeddings
from worker.vision.packing import unpack_embeddings

_COLUMNS = (
    Product.product_id,
    Product.category,
    Product.price,
    Product.facts,
    Detection.image_id,
    Detection.number,
    Detection.colours,
    Detection.embedding,
)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """What an index version is to hold of products.

    Attributes:
        product_ids: those that the catalogue has.
        changes: the catalogue's last change before they were read: if it is the last one still, nothing of
            them is out of date.
    """

    rows: list[IndexRow]
    product_ids: set[str]
    changes: int


def rows_of_products(
    session: Session, catalogue_id: int, version_id: int, product_ids: Collection[str]
) -> StoredRows:
    """Return the rows of products from their stored embeddings."""
    changes = session.scalar(select(Catalogue.changes).where(Catalogue.id == catalogue_id))
    wanted = (Product.catalogue_id == catalogue_id, Product.product_id.in_(product_ids))
    rows = _rows(session, _of_version(version_id).where(*wanted))
    there = {row.product_id for row in rows}
    if len(there) < len(product_ids):
        there.update(session.scalars(select(Product.product_id).where(*wanted)))
    return StoredRows(rows, there, changes or 0)


def rows_of_keys(session: Session, version_id: int, keys: Collection[str]) -> list[IndexRow]:
    """Return the rows of keys from their stored embeddings; those deleted meanwhile are left out."""
    images = {key.rpartition("-")[0] for key in keys}
    wanted = set(keys)
    found = _rows(session, _of_version(version_id).where(Detection.image_id.in_(images)))
    return [row for row in found if row.key in wanted]


def _of_version(version_id: int) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .select_from(Product)
        .join(Image, Image.product == Product.id)
        .join(Detection, Detection.image_id == Image.id)
        .where(Detection.index_version == version_id)
    )


def _rows(session: Session, query: Select[Any]) -> list[IndexRow]:
    # Past the ORM, which takes as long for a row as all else here.
    found = session.connection().execute(query).all()
    if not found:
        return []
    facts: dict[str, FilterFields] = {}
    embeddings = unpack_embeddings([row.embedding for row in found])
    return [_row(row, each, facts) for row, each in zip(found, embeddings, strict=True)]


def _row(row: Row[Any], embedding: Embeddings, facts: dict[str, FilterFields]) -> IndexRow:
    """Make one row; a product's facts are read once for all its pictures."""
    known = facts.get(row.product_id)
    if known is None:
        known = FilterFields.from_json(row.facts)
        facts[row.product_id] = known
    return IndexRow(
        key=row_key(row.image_id, row.number),
        product_id=row.product_id,
        image_id=row.image_id,
        number=row.number,
        category=row.category,
        price=None if row.price is None else float(row.price),
        embedding=embedding,
        facts=known.with_colours(row.colours or ()),
    )
