"""Rows of the index that a batch writes, and keys of those that are surplus after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from worker.indexes.rows import index_row, row_key
from worker.indexes.stored_rows import rows_of_products
from worker.indexes.versions import kept_indexes
from worker.indexes.writes import delete_rows, write_rows
from worker.products.batch import PreparedProduct, Target
from worker.products.context import JobContext
from worker.vector_index.contract import IndexRow


def new_rows(products: Iterable[PreparedProduct], target: Target) -> Iterator[IndexRow]:
    """Yield the rows of pictures that were embedded for a target."""
    for p in products:
        for picture in p.pictures:
            if picture.is_indexed:
                continue
            for number, each in enumerate(picture.content.objects.get(target.models, ())):
                yield index_row(
                    p.item.product_id,
                    p.product,
                    p.filter_fields,
                    picture.image_id,
                    number,
                    each.embedding,
                    each.colours,
                )


def surplus_keys(products: Iterable[PreparedProduct], version: int, models: int | None) -> Iterator[str]:
    """Yield keys that an earlier state of the products has in an index version and this one has not.

    Args:
        models: what fills the version now; None for one that is no longer written.
    """
    for prepared in products:
        if prepared.existing is None:
            continue
        pictures = {p.image_id: p for p in prepared.pictures}
        for image_id, numbers in prepared.existing.numbers.get(version, {}).items():
            picture = pictures.get(image_id)
            if picture is not None and (picture.is_indexed or models is None):
                continue
            left = 0
            if picture is not None and models is not None:
                left = len(picture.content.objects.get(models, ()))
            yield from (row_key(image_id, number) for number in numbers if number >= left)


def restore_rows(context: JobContext, catalogue_id: int, touched: Sequence[PreparedProduct]) -> None:
    """Bring the index back to what the catalogue holds of products that an abandoned try has written.

    The try wrote rows of its own pictures, and deleted those of pictures that it was to replace.
    """
    ids = [p.item.product_id for p in touched]
    written = {
        row_key(picture.image_id, number)
        for p in touched
        for picture in p.pictures
        for objects in picture.content.objects.values()
        for number in range(len(objects))
    }
    with context.database.read() as session:
        versions = kept_indexes(session, catalogue_id)
        stored = {v.id: rows_of_products(session, catalogue_id, v.id, ids).rows for v in versions}
    for version in versions:
        rows = stored[version.id]
        write_rows(context.index, version, rows)
        delete_rows(context.index, [version], sorted(written - {row.key for row in rows}))
