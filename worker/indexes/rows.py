"""Rows of the index from a product and an embedding."""

from __future__ import annotations

from collections.abc import Iterable

from shared.filters import FilterFields, ProductData
from worker.vector_index.contract import IndexRow
from worker.vision import Embeddings


def row_key(image_id: str, number: int) -> str:
    """Return the primary key of an object's row: the same object always has the same key."""
    return f"{image_id}-{number}"


def index_row(
    product_id: str,
    product: ProductData,
    facts: FilterFields,
    image_id: str,
    number: int,
    embedding: Embeddings,
    colours: Iterable[str] | None = None,
) -> IndexRow:
    """Return the row of one object of one picture.

    Args:
        product: in its new state.
        facts: ``filter_fields(product)``; handed in because a product has many rows.
        number: of the object in the picture, 0 for the main one.
        embedding: ``(D,) float32``, normalised.
        colours: of the object, from ``worker.vision.colours``; None where they were never computed.
    """
    return IndexRow(
        key=row_key(image_id, number),
        product_id=product_id,
        image_id=image_id,
        number=number,
        category=product.category,
        price=None if product.price is None else float(product.price),
        embedding=embedding,
        facts=facts.with_colours(colours or ()),
    )
