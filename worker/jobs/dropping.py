"""Deletion of a whole catalogue: collections, products, jobs and searches, in batches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from shared.database.tables import (
    Base,
    Catalogue,
    Feedback,
    GoldenQuery,
    Idempotency,
    IndexVersionRow,
    Job,
    Product,
    Search,
)
from shared.jobs.work import ChunkClaim
from shared.searches.feedback import PHOTOS
from worker.indexes.versions import alias_name, collection_name, lock_catalogue_changes
from worker.jobs import Once
from worker.jobs.batched_delete import PIECE, delete_in_pieces
from worker.products.context import JobContext


@dataclass(frozen=True)
class Drop(Once):
    """Deletes the content of a deleted catalogue: see ``shared.jobs.catalogue_deletion``.

    Each step may be repeated, so that a killed one continues where it was. The products' pictures are deleted
    when the sweeper finds that no product refers to them.
    """

    context: JobContext

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        self._begin(claim)
        self._drop_collections(claim)
        self._delete_photos(claim)
        place = claim.catalogue_id

        def count(session: Session, gone: int) -> None:
            session.execute(update(Job).where(Job.id == claim.job_id).values(deleted=Job.deleted + gone))

        delete_in_pieces(self.context, claim, Product, Product.catalogue_id == place, count)
        others = select(Job.id).where(Job.catalogue_id == place, Job.id != claim.job_id)
        searches = select(Search.id).where(Search.catalogue_id == place)
        for made in (others, searches):
            delete_in_pieces(self.context, claim, Idempotency, Idempotency.resource_id.in_(made))
        # Their rows are many, and are deleted in batches before the jobs themselves.
        for table, column in _referring_to(Job):
            delete_in_pieces(self.context, claim, table, column.in_(others))
        delete_in_pieces(self.context, claim, Job, Job.id.in_(others))
        for table, column in _referring_to(Catalogue):
            if table is not Job:
                delete_in_pieces(self.context, claim, table, column == place)
        # A worker whose job was just cancelled may have created one again.
        self._drop_collections(claim)
        return None

    def _begin(self, claim: ChunkClaim) -> None:
        """Take the versions away from searches, and count what is to be deleted."""
        place = claim.catalogue_id
        with self.context.database.write() as session:
            self.context.desk.renew_lease(session, claim)
            lock_catalogue_changes(session, place)
            session.execute(
                update(IndexVersionRow)
                .where(IndexVersionRow.catalogue_id == place)
                .values(state="pruned", beside=None, epoch=IndexVersionRow.epoch + 1)
            )
            left = select(func.count()).where(Product.catalogue_id == place).scalar_subquery()
            session.execute(update(Job).where(Job.id == claim.job_id).values(total=Job.deleted + left))

    def _delete_photos(self, claim: ChunkClaim) -> None:
        """Delete the photos of golden queries and feedback that no other catalogue has."""
        for table, key, kind in (
            (GoldenQuery, GoldenQuery.sha256, "golden"),
            (Feedback, Feedback.photo, PHOTOS),
        ):
            with self.context.database.read() as session:
                own = session.scalars(
                    select(key).where(table.catalogue_id == claim.catalogue_id, key.is_not(None)).distinct()
                )
                waiting = iter([photo for photo in own.all() if photo is not None])
            while some := list(islice(waiting, PIECE)):
                others = select(key).where(table.catalogue_id != claim.catalogue_id, key.in_(some))
                with self.context.database.read() as session:
                    elsewhere = set(session.scalars(others))
                self.context.store.delete_all([photo for photo in some if photo not in elsewhere], kind)
                self.context.give_way(claim)

    def _drop_collections(self, claim: ChunkClaim) -> None:
        context = self.context
        context.index.remove_alias(alias_name(context.prefix, claim.catalogue_id))
        of_catalogue = collection_name(context.prefix, claim.catalogue_id, "")
        for collection in context.index.collections():
            if collection.startswith(of_catalogue):
                context.index.drop(collection)
                context.give_way(claim)


def _referring_to(target: type[Base]) -> list[tuple[type[Base], ColumnElement[Any]]]:
    """Return the tables whose rows refer to ``target``, with the referring column.

    Read from the mappers, so that a table added later is included.
    """
    found = [
        (mapper.class_, column)
        for mapper in Base.registry.mappers
        for column in mapper.columns
        if any(key.column.table is target.__table__ for key in column.foreign_keys)
    ]
    return sorted(found, key=lambda each: each[0].__name__)
