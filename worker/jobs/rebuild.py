"""The index anew from the database, when Milvus was wiped or replaced: no model, no picture.

It is written into a collection beside the version's own and takes its place in one transaction, so that
a search uses the old one, or waits where that is gone, and never sees a part.
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
    """Writes the rows of an index version from the stored embeddings; of the live one unless told."""

    tools: JobContext
    finishes = True

    def plan(self, claim: ChunkClaim) -> Iterator[Item | Problem]:
        """The products that the catalogue has, once the place for their rows is made."""
        version = required_version(self.tools, claim)
        place = self._place(claim, version)
        if version.beside != place and version.collection != place:
            self._begin(claim, version, place)
        yield from list_products(self.tools, claim)

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        version = required_version(self.tools, claim)
        if version.beside != self._place(claim, version):
            raise Conflict("Another rebuild of this index took this one's place.")
        stages = ProductStages(self.tools, claim, self._source(claim, version))
        do_light_items(self.tools, claim, items, stages)

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """Compare, switch, and drop what is replaced."""
        tools, version = self.tools, required_version(self.tools, claim)
        place = self._place(claim, version)
        report: dict[str, Any] = {"index": version.number}
        if version.collection != place:
            if version.beside != place or version.beside_since is None:
                raise Conflict("Another rebuild of this index took this one's place.")
            # It seals while the rows are compared.
            tools.index.flush(place, wait=False)
            found = reconcile(tools, claim, version, repair=True, collection=place)
            if (found.missing or found.orphans) and not found.repaired:
                raise IndexUnavailable(f"{place} is not what the database says; it is compared again.")
            report["reconcile"] = found.as_json()
            tools.index.flush(place)
            catch_up(
                tools,
                claim,
                self._source(claim, version),
                version.beside_since,
                lambda session: _switch(session, version, place),
            )
        if version.state == "live":
            tools.index.set_alias(version.alias, place)
        self._tidy(claim, version, place)
        return report

    def _source(self, claim: ChunkClaim, version: IndexVersion) -> StoredSource:
        assert version.beside is not None
        return StoredSource(self.tools, claim.catalogue_id, version, "none", version.beside)

    def _place(self, claim: ChunkClaim, version: IndexVersion) -> str:
        """The collection that this job fills: the same however often a step is repeated."""
        return f"{self._name(claim, version)}_{claim.job_id[:8]}"

    def _name(self, claim: ChunkClaim, version: IndexVersion) -> str:
        return collection_name(self.tools.prefix, claim.catalogue_id, version.number)

    def _begin(self, claim: ChunkClaim, version: IndexVersion, place: str) -> None:
        """Make the collection, then let everybody who writes products write to it too."""
        self.tools.index.create(place, version.dim, wait=False)
        with self.tools.database.write() as session:
            self.tools.desk.renew_lease(session, claim)
            changes = lock_catalogue_changes(session, claim.catalogue_id)
            change_version(session, version, beside=place, beside_since=changes)

    def _tidy(self, claim: ChunkClaim, version: IndexVersion, place: str) -> None:
        """Drop what this version was in before, and what a rebuild that was given up left."""
        name = self._name(claim, version)
        for collection in self.tools.index.collections():
            if collection != place and (collection == name or collection.startswith(f"{name}_")):
                self.tools.index.drop(collection)


def _switch(session: Session, version: IndexVersion, place: str) -> None:
    change_version(session, version, collection=place, beside=None, beside_since=None)
