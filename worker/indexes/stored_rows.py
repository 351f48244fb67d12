"""Rows of the index from what the database has: no picture, no model, two statements a batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from shared.database.tables import Catalogue, Detection, Image, Product
from shared.filters import FilterFields, ProductData
from worker.indexes.rows import index_row
from worker.vector_index.contract import IndexRow
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

#: What rows say of products, by product id: the product, and its filter fields.
Labels = Mapping[str, tuple[ProductData, FilterFields]]


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
    conditions = (Product.catalogue_id == catalogue_id, Product.product_id.in_(product_ids))
    rows = _load_rows(session, _of_version(version_id).where(*conditions))
    existing = {row.product_id for row in rows}
    if len(existing) < len(product_ids):
        existing.update(session.scalars(select(Product.product_id).where(*conditions)))
    return StoredRows(rows, existing, changes or 0)


def rows_of_images(
    session: Session, version_id: int, image_ids: Collection[str], labels: Labels
) -> list[IndexRow]:
    """Return the rows of pictures from their stored embeddings.

    Args:
        labels: what the rows say of products instead of what the database has of them.
    """
    return _load_rows(session, _of_version(version_id).where(Detection.image_id.in_(image_ids)), labels)


def rows_of_keys(session: Session, version_id: int, keys: Collection[str]) -> list[IndexRow]:
    """Return the rows of keys from their stored embeddings; those deleted concurrently are left out."""
    images = {key.rpartition("-")[0] for key in keys}
    wanted = set(keys)
    return [row for row in rows_of_images(session, version_id, images, {}) if row.key in wanted]


def _of_version(version_id: int) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .select_from(Product)
        .join(Image, Image.product == Product.id)
        .join(Detection, Detection.image_id == Image.id)
        .where(Detection.index_version == version_id)
    )


def _load_rows(session: Session, query: Select[Any], labels: Labels | None = None) -> list[IndexRow]:
    # Past the ORM, which takes as long for a row as all else here.
    found = session.connection().execute(query).all()
    if not found:
        return []
    # The filter fields of a product are read once for all its pictures.
    known: dict[str, tuple[Any, FilterFields]] = dict(labels or {})
    rows = []
    for row, embedding in zip(found, unpack_embeddings([row.embedding for row in found]), strict=True):
        if row.product_id not in known:
            known[row.product_id] = row, FilterFields.from_json(row.facts)
        product, fields = known[row.product_id]
        rows.append(
            index_row(row.product_id, product, fields, row.image_id, row.number, embedding, row.colours)
        )
    return rows
