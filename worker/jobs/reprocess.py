"""Re-processing: runs a catalogue's pictures through its models again, or through others.

The same models repair the live index in place. Other models fill a new version, which goes live when it is
complete and the quality gate passes it; searches use the old version throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from shared.contracts import ENDED_STATES
from shared.contracts.indexes import ReprocessRequest, ReprocessScope
from shared.database.clock import now_s
from shared.database.filter_sql import where
from shared.database.tables import Image as ImageRow
from shared.database.tables import IndexVersionRow, Job, Product
from shared.errors import Conflict, IndexUnavailable, InvalidInput, NotFound
from shared.filters import parse
from shared.jobs.work import ChunkClaim, Item, Problem
from worker.indexes.pipelines import registry_name
from worker.indexes.versions import (
    IndexVersion,
    change_version,
    collection_name,
    live_index,
    lock_catalogue_changes,
    next_number,
    written_indexes,
)
from worker.jobs.gate import judge
from worker.jobs.promotion import promote
from worker.jobs.reconcile import reconcile
from worker.jobs.stored_products import catch_up, list_products
from worker.jobs.versions import required_version
from worker.products.context import JobContext
from worker.products.pipeline_runner import do_items
from worker.products.stored_source import Scope, StoredSource
from worker.products.writing import ProductStages
from worker.vision.pipeline import Pipeline


@dataclass(frozen=True)
class Reprocess:
    """Re-processes a catalogue. Options: ``shared.contracts.indexes.ReprocessRequest``."""

    context: JobContext
    finishes = True

    def plan(self, claim: ChunkClaim) -> Iterator[Item | Problem]:
        """Select the version to fill, then yield the products with pictures in the scope."""
        version = self._begin(claim) if claim.index_version is None else required_version(self.context, claim)
        conditions = [] if version.state != "live" else self._in_scope(claim, version)
        yield from list_products(self.context, claim, *conditions)

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        version = required_version(self.context, claim)
        do_items(self.context, claim, items, ProductStages(self.context, claim, self._source(claim, version)))

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        version = required_version(self.context, claim)
        with self.context.database.read() as session:
            row = session.get_one(IndexVersionRow, version.id)
            own, report = row.job_id == claim.job_id, dict(row.report or {})
        if not own:
            return self._finish_in_place(claim, version)
        if version.state == "building":
            report = self._complete(claim, version)
            version = required_version(self.context, claim)
        promoted = version.state == "live"
        promotes = claim.read_options(ReprocessRequest).promote == "auto"
        wanted = promotes and report["gate"]["verdict"] == "passed"
        if version.state == "ready" and wanted:
            promote(self.context, claim, version, "index.promoted")
            promoted = True
        return {**report, "promoted": promoted, "index": version.number}

    def _begin(self, claim: ChunkClaim) -> IndexVersion:
        """Select the version to fill, and store it with the job."""
        with self.context.database.read() as session:
            live = live_index(session, claim.catalogue_id)
            others = [v for v in written_indexes(session, claim.catalogue_id) if v.state != "live"]
        if live is None:
            raise NotFound(f"Catalogue {claim.catalogue!r} is empty: import products first.")
        pipeline = self._requested_pipeline(claim, live)
        pipelines = self.context.pipelines
        if pipelines.fits(pipeline, live):
            return self._take(claim, live, fills=False)
        _require_whole_catalogue(claim)
        for version in others:
            if not pipelines.fits(pipeline, version):
                raise Conflict(
                    f"Index {version.number} ({version.embedder}) is {version.state}: promote it, or drop "
                    f"it with `vitrine prune {claim.catalogue} --index {version.number}`."
                )
            self._require_free(version)
            return self._take(claim, version, fills=True)
        return self._new_version(claim, live, pipeline)

    def _requested_pipeline(self, claim: ChunkClaim, live: IndexVersion) -> Pipeline:
        request = claim.read_options(ReprocessRequest)
        detector, embedder = request.detector, request.embedder
        if detector is None and embedder is None:
            return self.context.pipelines.of(live)
        return self.context.pipelines.named(
            detector or live.detector_name or registry_name(live.detector),
            embedder or live.embedder_name or registry_name(live.embedder),
            None if embedder else live.embedder,
        )

    def _require_free(self, version: IndexVersion) -> None:
        with self.context.database.read() as session:
            row = session.get_one(IndexVersionRow, version.id)
            job = None if row.job_id is None else session.get(Job, row.job_id)
            if job is not None and job.state not in ENDED_STATES:
                raise Conflict(f"Index {version.number} is being filled by job {job.id}.")

    def _take(self, claim: ChunkClaim, version: IndexVersion, fills: bool) -> IndexVersion:
        """Assign an existing version to the job; what is in it already is not done again."""
        with self.context.database.write() as session:
            self.context.desk.renew_lease(session, claim)
            changes = lock_catalogue_changes(session, claim.catalogue_id)
            if fills:
                values = {"job_id": claim.job_id, "stale_since": changes, "report": None}
                change_version(session, version, state="building", **values)
            session.execute(
                update(Job)
                .where(Job.id == claim.job_id)
                .values(index_version=version.id, source={"since": changes})
            )
        return version

    def _new_version(self, claim: ChunkClaim, live: IndexVersion, pipeline: Pipeline) -> IndexVersion:
        """Create the collection, then the row: from its commit on, products are written to both."""
        context = self.context
        with context.database.read() as session:
            number = next_number(session, claim.catalogue_id)
        name = collection_name(context.prefix, claim.catalogue_id, number)
        context.index.drop(name)  # left by a try that died between the two
        context.index.create(name, pipeline.embedder.dim, wait=False)
        with context.database.write() as session:
            context.desk.renew_lease(session, claim)
            changes = lock_catalogue_changes(session, claim.catalogue_id)
            row = IndexVersionRow(
                catalogue_id=claim.catalogue_id,
                number=number,
                collection=name,
                alias=live.alias,
                detector=pipeline.detector.version,
                embedder=pipeline.embedder.version,
                detector_name=pipeline.detector_name,
                embedder_name=pipeline.embedder_name,
                dim=pipeline.embedder.dim,
                state="building",
                job_id=claim.job_id,
                stale_since=changes,
                created_at=now_s(),
            )
            session.add(row)
            session.flush()
            session.execute(
                update(Job)
                .where(Job.id == claim.job_id)
                .values(index_version=row.id, source={"since": changes})
            )
            return next(v for v in written_indexes(session, claim.catalogue_id) if v.id == row.id)

    def _in_scope(self, claim: ChunkClaim, live: IndexVersion) -> list[Any]:
        """Return conditions on products: a repair in place touches only those in the scope."""
        request = claim.read_options(ReprocessRequest)
        conditions = filter_conditions(request.filter)
        if request.scope == "all":
            return conditions
        needs = self._source(claim, live).needs_embedding()
        return [*conditions, exists(select(ImageRow.id).where(ImageRow.product == Product.id, needs))]

    def _source(self, claim: ChunkClaim, version: IndexVersion) -> StoredSource:
        requested = claim.read_options(ReprocessRequest).scope
        scope: Scope = "missing" if version.state != "live" else _SCOPES[requested]
        return StoredSource(self.context, claim.catalogue_id, version, scope)

    def _complete(self, claim: ChunkClaim, version: IndexVersion) -> dict[str, Any]:
        """Compare the filled version with the catalogue, judge it, and mark it as ready."""
        context = self.context
        context.index.flush(version.collection, wait=False)
        found = reconcile(context, claim, version, repair=True)
        context.index.flush(version.collection)
        if (found.missing or found.orphans) and not found.repaired:
            raise IndexUnavailable(f"{version.collection} is not what the database says; compared again.")
        with context.database.read() as session:
            live = live_index(session, claim.catalogue_id)
        report = {"reconcile": found.as_json(), "gate": judge(context, claim, live, version)}

        def ready(session: Session) -> None:
            change_version(session, version, state="ready", stale_since=None, report=report)

        source = StoredSource(context, claim.catalogue_id, version, "missing")
        catch_up(context, claim, source, version.stale_since or 0, ready)
        return report

    def _finish_in_place(self, claim: ChunkClaim, live: IndexVersion) -> dict[str, Any]:
        context = self.context
        pipeline = context.pipelines.of(live)

        def done(session: Session) -> None:
            # The thresholds of the detector may have changed since it was first filled.
            change_version(session, live, detector=pipeline.detector.version)

        context.index.flush(live.collection)
        source = StoredSource(context, claim.catalogue_id, live, "none")
        catch_up(context, claim, source, int(claim.source.get("since", 0)), done)
        live = required_version(context, claim)
        report = reconcile(context, claim, live, repair=claim.read_options(ReprocessRequest).repair)
        return {"reconcile": report.as_json(), "promoted": False, "index": live.number}


_SCOPES: dict[ReprocessScope, Scope] = {"all": "all", "stale": "stale", "failed": "missing"}


def filter_conditions(expression: str | None) -> list[Any]:
    """Return the SQL conditions of a filter on products; none without one."""
    return [] if expression is None else [where(parse(expression))]


def _require_whole_catalogue(claim: ChunkClaim) -> None:
    """A new version must have every product, or promoting it would lose the others."""
    request = claim.read_options(ReprocessRequest)
    if request.filter is not None or request.scope == "failed":
        raise InvalidInput(
            "Other models fill a new index, which needs every product: leave `filter` out and take scope "
            "`all`. With the models of the live index, a part of the catalogue can be done in place.",
            "filter" if request.filter is not None else "scope",
        )
