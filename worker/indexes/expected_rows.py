"""Keys that an index version's collection should hold, from the database, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database import Database
from shared.database.pages import pages
from shared.database.tables import Detection, Image, Product
from worker.indexes.rows import row_key

_PAGE_ROWS = 5000


def expected_keys(database: Database, version_id: int) -> Iterator[str]:
    """Yield the keys that an index version's collection should hold, in ascending order, page by page.

    Ids of images are lower-case hexadecimal, so their order is the same in every collation.
    """
    key = Detection.image_id, Detection.number
    query = select(*key).where(Detection.index_version == version_id)
    keys: list[str] = []
    last = ""
    for page in pages(database, query, key, _PAGE_ROWS):
        for image_id, number in page:
            if image_id != last:
                # As text: object 10 comes before object 2.
                yield from sorted(keys)
                keys, last = [], image_id
            keys.append(row_key(image_id, number))
    yield from sorted(keys)


def known_keys(session: Session, version_id: int, keys: Sequence[str]) -> set[str]:
    """Return the subset of the keys that the database has now."""
    images = {key.rpartition("-")[0] for key in keys}
    rows = session.execute(
        select(Detection.image_id, Detection.number).where(
            Detection.index_version == version_id, Detection.image_id.in_(images)
        )
    )
    return {row_key(row.image_id, row.number) for row in rows} & set(keys)


def keys_of_products(
    session: Session, version_id: int, catalogue_id: int, product_ids: Sequence[str]
) -> set[str]:
    """Return the keys that the database has of products."""
    rows = session.execute(
        select(Detection.image_id, Detection.number)
        .join(Image, Image.id == Detection.image_id)
        .join(Product, Product.id == Image.product)
        .where(
            Product.catalogue_id == catalogue_id,
            Product.product_id.in_(product_ids),
            Detection.index_version == version_id,
        )
    )
    return {row_key(row.image_id, row.number) for row in rows}
