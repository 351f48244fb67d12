"""What the database wants an index version's collection to hold: keys in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from shared.database import Database
from shared.database.tables import Detection, Image, Product
from worker.indexes.rows import row_key

_PAGE = 5000


def expected_keys(database: Database, version_id: int) -> Iterator[str]:
    """Yield the keys that an index version's collection should hold, in ascending order, page by page.

    Ids of images are lower-case hexadecimal, so their order is the same in every collation.
    """
    after, more = ("", 0), True
    rows: list[tuple[str, int]] = []
    while more:
        with database.read() as session:
            page = session.execute(
                select(Detection.image_id, Detection.number)
                .where(
                    Detection.index_version == version_id,
                    tuple_(Detection.image_id, Detection.number) > after,
                )
                .order_by(Detection.image_id, Detection.number)
                .limit(_PAGE)
            ).all()
        more = len(page) == _PAGE
        rows += [(row.image_id, row.number) for row in page]
        after = rows[-1] if rows else after
        # The last image may go on in the next page.
        whole = [r for r in rows if r[0] != after[0]] if more else rows
        rows = [r for r in rows if r[0] == after[0]] if more else []
        # By text: object 10 comes before object 2.
        yield from sorted([row_key(image_id, number) for image_id, number in whole])


def known_keys(session: Session, version_id: int, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that the database has now."""
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
