"""What a micro-batch changes in the index versions: rows to write, and keys that are one too many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy.orm import Session

from shared.catalogue.merge_patch import apply_patch
from shared.filters import filter_fields
from worker.indexes.rows import index_row, row_key
from worker.indexes.versions import IndexVersion, kept_indexes
from worker.indexes.writes import delete_rows, write_rows
from worker.products.batch import Prepared, Target
from worker.products.context import JobContext
from worker.products.existing_embeddings import IndexedObject, Known, known_products, stored_objects
from worker.vector_index.contract import IndexRow

#: Objects by index version, image id and number.
Stored = Mapping[tuple[int, str], Mapping[int, IndexedObject]]


class IndexChanges:
    """What products change; made from what the database holds, carried out without it.

    Args:
        versions: all that have a collection: what a product no longer has goes from each.
    """

    def __init__(
        self,
        session: Session,
        products: Sequence[Prepared],
        targets: Sequence[Target],
        versions: Sequence[IndexVersion],
    ) -> None:
        self._products = products
        self._moved = [_moved(p) for p in products]
        self._targets = targets
        self._versions = versions
        moved = [p for p, is_moved in zip(products, self._moved, strict=True) if is_moved]
        kept = [picture.image_id for p in moved for picture in p.pictures if picture.known]
        self._stored: Stored = stored_objects(session, kept, [t.version.id for t in targets])

    def carry_out(self, tools: JobContext) -> None:
        """Write rows of new pictures, and of all of a product of which rows say something else now;
        delete those that are one too many."""
        for target in self._targets:
            write_rows(tools.index, target.version, [*self._rows(target)])
        models = {t.version.id: t.models for t in self._targets}
        for version in self._versions:
            of = models.get(version.id)
            delete_rows(
                tools.index, [version], [k for p in self._products for k in _surplus(p, version.id, of)]
            )

    def _rows(self, target: Target) -> Iterator[IndexRow]:
        for p, moved in zip(self._products, self._moved, strict=True):
            for picture in p.pictures:
                objects: Mapping[int, IndexedObject] = {}
                if not picture.known:
                    objects = dict(enumerate(picture.content.objects[target.models]))
                elif moved:
                    objects = self._stored.get((target.version.id, picture.image_id), {})
                for number, o in objects.items():
                    yield index_row(
                        p.item.product_id,
                        p.product,
                        p.facts,
                        picture.image_id,
                        number,
                        o.embedding,
                        o.colours,
                    )


def _moved(prepared: Prepared) -> bool:
    """Whether what rows say of the product changed."""
    if prepared.before is None:
        return False
    before, after = prepared.before.row, prepared.product
    now = after.category, after.price, prepared.facts.as_json()
    return (before.category, before.price, before.facts) != now


def _surplus(prepared: Prepared, version: int, models: int | None) -> Iterator[str]:
    """Keys that an earlier state of the product has in an index version and this one has not.

    Args:
        models: what fills the version now; None for one that is no longer written.
    """
    if prepared.before is None:
        return
    pictures = {p.image_id: p for p in prepared.pictures}
    for image_id, numbers in prepared.before.numbers.get(version, {}).items():
        picture = pictures.get(image_id)
        if picture is not None and (picture.known or models is None):
            continue
        left = 0 if picture is None or models is None else len(picture.content.objects[models])
        yield from (row_key(image_id, number) for number in numbers if number >= left)


def restore_rows(tools: JobContext, catalogue_id: int, touched: Sequence[Prepared]) -> None:
    """Bring the index back to what the catalogue holds of products that an abandoned try has written.

    The try wrote rows of its own pictures, and deleted those of pictures that it was to replace.
    """
    with tools.database.read() as session:
        versions = kept_indexes(session, catalogue_id)
        known = known_products(session, catalogue_id, -1, [p.item.product_id for p in touched])
        images = [image_id for each in known.values() for image_id in each.images]
        stored: Stored = stored_objects(session, images, [version.id for version in versions])
    written = {
        row_key(picture.image_id, number)
        for p in touched
        for picture in p.pictures
        for objects in picture.content.objects.values()
        for number in range(len(objects))
    }
    for version in versions:
        rows = [row for each in known.values() for row in _stored_rows(each, stored, version.id)]
        write_rows(tools.index, version, rows)
        delete_rows(tools.index, [version], sorted(written - {row.key for row in rows}))


def _stored_rows(known: Known, stored: Stored, version: int) -> Iterator[IndexRow]:
    product = apply_patch(known.row, {})
    facts = filter_fields(product)
    for image_id in known.images:
        for number, o in stored.get((version, image_id), {}).items():
            yield index_row(known.row.product_id, product, facts, image_id, number, o.embedding, o.colours)
