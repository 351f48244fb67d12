"""Pruning: selects and drops index versions that are not needed for a rollback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from shared.contracts import ENDED_STATES
from shared.contracts.indexes import PruneRequest
from shared.contracts.stored import look_up
from shared.database import execute_rowcount
from shared.database.tables import Detection, IndexVersionRow, Job
from shared.jobs.work import ChunkClaim
from worker.indexes.versions import (
    IndexVersion,
    collection_name,
    kept_indexes,
    live_index,
    lock_catalogue_changes,
    versions_in,
)
from worker.jobs import Once
from worker.jobs.batched_delete import delete_in_pieces
from worker.products.context import JobContext


@dataclass(frozen=True)
class Prune(Once):
    """Drops versions with their collections and detections."""

    context: JobContext

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        with self.context.database.read() as session:
            versions = versions_to_drop(session, claim)
        for version in versions:
            self._drop(claim, version)
        return {"pruned": [version.number for version in versions]}

    def _drop(self, claim: ChunkClaim, version: IndexVersion) -> None:
        """Mark the version as pruned, so that no job selects it; then drop collection and detections."""
        context = self.context
        with context.database.write() as session:
            context.desk.renew_lease(session, claim)
            lock_catalogue_changes(session, claim.catalogue_id)
            chosen = (IndexVersionRow.id == version.id, IndexVersionRow.state != "live")
            if not execute_rowcount(
                session,
                update(IndexVersionRow)
                .where(*chosen)
                .values(state="pruned", beside=None, epoch=IndexVersionRow.epoch + 1),
            ):
                return  # it went live concurrently
            live = live_index(session, claim.catalogue_id)
        if live is not None and context.index.resolve_alias(live.alias) != live.collection:
            context.index.set_alias(live.alias, live.collection)
        name = collection_name(context.prefix, claim.catalogue_id, version.number)
        for collection in context.index.collections():
            if collection == name or collection.startswith(f"{name}_"):
                context.index.drop(collection)
        delete_in_pieces(context, claim, Detection, Detection.index_version == version.id)


def versions_to_drop(session: Session, claim: ChunkClaim) -> list[IndexVersion]:
    """Return the versions to drop: the one that the job names, or all that are not needed.

    These are retired versions but the last, those whose filling was given up, and those that the quality
    gate refused; with the option ``all``, every version that is neither live nor being filled. Versions
    whose dropping was interrupted come first.
    """
    kept = kept_indexes(session, claim.catalogue_id)
    if claim.index_version is not None:
        return [
            *_half_dropped(session, claim.catalogue_id),
            *(v for v in kept if v.id == claim.index_version),
        ]
    rows = {row.id: row for row in session.scalars(
        select(IndexVersionRow).where(IndexVersionRow.id.in_([v.id for v in kept]))
    )}  # fmt: skip
    retired = sorted((v for v in kept if v.state == "retired"), key=lambda v: rows[v.id].retired_at or 0.0)
    everything = claim.read_options(PruneRequest).all
    last = retired[-1:] if not everything else []
    found = _half_dropped(session, claim.catalogue_id)
    for version in kept:
        row = rows[version.id]
        if version.state == "live" or version in last or _is_being_filled(session, row):
            continue
        refused = look_up(row.report, "gate", "verdict") == "failed"
        if version.state == "ready" and not refused and not everything:
            continue
        found.append(version)
    return found


def _is_being_filled(session: Session, row: IndexVersionRow) -> bool:
    job = None if row.job_id is None else session.get(Job, row.job_id)
    return row.state in ("building", "ready") and job is not None and job.state not in ENDED_STATES


def _half_dropped(session: Session, catalogue_id: int) -> list[IndexVersion]:
    pruned = versions_in(session, catalogue_id, ("pruned",))
    with_rows = set(
        session.scalars(
            select(Detection.index_version)
            .where(Detection.index_version.in_([v.id for v in pruned]))
            .distinct()
        )
    )
    return [version for version in pruned if version.id in with_rows]
