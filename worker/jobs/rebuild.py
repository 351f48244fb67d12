"""Rebuild of an index from the database, after Milvus was wiped or replaced: no model, no picture.

A second collection is filled and replaces the version's own in one transaction: a search uses the old
one, or fails where that is missing, and never gets an answer from a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from shared.errors import Conflict, IndexUnavailable
from shared.jobs.work import ChunkClaim, Item, Problem
from worker.indexes.versions import IndexVersion, change_version, collection_name, lock_catalogue_changes
from worker.jobs.reconcile import reconcile
from worker.jobs.stored_products import catch_up, list_products
from worker.jobs.versions import required_version
from worker.products.context import JobContext
from worker.products.pipeline_runner import do_light_items
from worker.products.stored_source import StoredSource
from worker.products.writing import ProductStages


@dataclass(frozen=True)
class Rebuild:
    """Writes the rows of an index version, by default the live one, from the stored embeddings."""

    context: JobContext
    finishes = True

    def plan(self, claim: ChunkClaim) -> Iterator[Item | Problem]:
        """Create the collection to fill, then yield the products of the catalogue."""
        version = required_version(self.context, claim)
        collection = self._collection(claim, version)
        if version.beside != collection and version.collection != collection:
            self._begin(claim, version, collection)
        yield from list_products(self.context, claim)

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        version = required_version(self.context, claim)
        if version.beside != self._collection(claim, version):
            raise Conflict("Another rebuild of this index replaced this one.")
        stages = ProductStages(self.context, claim, self._source(claim, version))
        do_light_items(self.context, claim, items, stages)

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """Compare, switch, and drop the old collection."""
        context, version = self.context, required_version(self.context, claim)
        collection = self._collection(claim, version)
        report: dict[str, Any] = {"index": version.number}
        if version.collection != collection:
            if version.beside != collection or version.beside_since is None:
                raise Conflict("Another rebuild of this index replaced this one.")
            # Milvus seals it while the rows are compared.
            context.index.flush(collection, wait=False)
            found = reconcile(context, claim, version, repair=True, collection=collection)
            if (found.missing or found.orphans) and not found.repaired:
                raise IndexUnavailable(f"{collection} is not what the database says; it is compared again.")
            report["reconcile"] = found.as_json()
            context.index.flush(collection)
            catch_up(
                context,
                claim,
                self._source(claim, version),
                version.beside_since,
                lambda session: _switch(session, version, collection),
            )
        if version.state == "live":
            context.index.set_alias(version.alias, collection)
        self._drop_others(claim, version, collection)
        return report

    def _source(self, claim: ChunkClaim, version: IndexVersion) -> StoredSource:
        assert version.beside is not None
        return StoredSource(self.context, claim.catalogue_id, version, "none", version.beside)

    def _collection(self, claim: ChunkClaim, version: IndexVersion) -> str:
        """Return the collection that this job fills: always the same, so that steps can be repeated."""
        return f"{self._name(claim, version)}_{claim.job_id[:8]}"

    def _name(self, claim: ChunkClaim, version: IndexVersion) -> str:
        return collection_name(self.context.prefix, claim.catalogue_id, version.number)

    def _begin(self, claim: ChunkClaim, version: IndexVersion, collection: str) -> None:
        """Create the collection, then make all jobs that write products write to it too."""
        self.context.index.create(collection, version.dim, wait=False)
        with self.context.database.write() as session:
            self.context.desk.renew_lease(session, claim)
            changes = lock_catalogue_changes(session, claim.catalogue_id)
            change_version(session, version, beside=collection, beside_since=changes)

    def _drop_others(self, claim: ChunkClaim, version: IndexVersion, collection: str) -> None:
        """Drop the version's former collection, and those of abandoned rebuilds."""
        name = self._name(claim, version)
        for existing in self.context.index.collections():
            if existing != collection and (existing == name or existing.startswith(f"{name}_")):
                self.context.index.drop(existing)


def _switch(session: Session, version: IndexVersion, collection: str) -> None:
    change_version(session, version, collection=collection, beside=None, beside_since=None)
