"""Promotion of an index version to be the live one, and rollback to the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from shared.contracts.indexes import PromoteRequest
from shared.contracts.stored import as_object, look_up
from shared.database.clock import now_s
from shared.database.tables import IndexVersionRow, Job
from shared.errors import Conflict, Misconfigured, NotFound, Unavailable
from shared.health.presence import Presence
from shared.jobs.work import ChunkClaim
from shared.webhooks.repository import emit
from worker.indexes.versions import IndexVersion, change_version, live_index, lock_catalogue_changes
from worker.jobs import Once
from worker.jobs.reconcile import reconcile
from worker.jobs.stored_products import catch_up
from worker.jobs.versions import required_version
from worker.products.context import JobContext
from worker.products.stored_source import StoredSource


@dataclass(frozen=True)
class Promote(Once):
    """Makes a ready version the live one."""

    context: JobContext

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        version = required_version(self.context, claim)
        if version.state == "ready" and not claim.read_options(PromoteRequest).force:
            require_passed(self.context, version)
        promote(self.context, claim, version, "index.promoted")
        return {"promoted": True, "index": version.number}


@dataclass(frozen=True)
class Rollback(Once):
    """Makes a retired version live again at once, then writes what changed since it was retired."""

    context: JobContext

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        context, version = self.context, required_version(self.context, claim)
        if version.state == "retired":
            version = self._set_state(claim, version, "ready")
        try:
            promote(context, claim, version, "index.rolled_back")
        except (Misconfigured, Conflict):
            # A version that cannot go live must not be written to.
            self._set_state(claim, version, "retired")
            raise
        version = required_version(context, claim)
        report: dict[str, Any] = {"promoted": True, "index": version.number}
        if version.stale_since is not None:
            source = StoredSource(context, claim.catalogue_id, version, "missing")
            catch_up(context, claim, source, version.stale_since, lambda session: _complete(session, version))
            version = required_version(context, claim)
            report["reconcile"] = reconcile(context, claim, version, repair=True).as_json()
        return report

    def _set_state(self, claim: ChunkClaim, version: IndexVersion, state: str) -> IndexVersion:
        """Set the state; ``ready`` makes jobs write to it again, and search workers load its models."""
        with self.context.database.write() as session:
            self.context.desk.renew_lease(session, claim)
            lock_catalogue_changes(session, claim.catalogue_id)
            change_version(session, version, state=state)
        return required_version(self.context, claim)


def require_passed(context: JobContext, version: IndexVersion) -> None:
    """Raise Conflict unless the quality gate let the version through."""
    with context.database.read() as session:
        row = session.get_one(IndexVersionRow, version.id)
        gate = as_object(look_up(row.report, "gate"))
    if gate.get("verdict") != "passed":
        wrong = ", ".join(c["name"] for c in gate.get("checks", []) if c["passed"] is False)
        raise Conflict(
            f"The quality gate refused index {version.number} ({wrong or 'not judged'}): "
            "`vitrine promote CATALOGUE --force` makes it live all the same."
        )


def promote(context: JobContext, claim: ChunkClaim, version: IndexVersion, event: str) -> None:
    """Make a version live: collection loaded, alias moved, row committed. Does nothing if it is live.

    Searches read the row: those before the commit use the old version only, those after it the new one.

    Raises:
        Conflict: it is not ready.
        Unavailable: a search worker has not loaded the version's models yet; to be tried again.
        Misconfigured: a search worker cannot load them, or its collection is gone.
    """
    if version.state == "live":
        context.index.set_alias(version.alias, version.collection)
        return
    if version.state != "ready":
        raise Conflict(f"Index {version.number} is {version.state}: only one that is ready goes live.")
    # A re-processing promotes too; its options have no `force`.
    if not claim.read_options(PromoteRequest).force:
        _await_searchers(context, claim, version)
    try:
        context.index.count(version.collection)  # loads it where it is not
        context.index.set_alias(version.alias, version.collection)
    except NotFound as error:
        raise Misconfigured(
            f"The collection of index {version.number} is gone from Milvus: "
            f"`vitrine rebuild {claim.catalogue} --index {version.number}` brings it back."
        ) from error
    with context.database.write() as session:
        context.desk.renew_lease(session, claim)
        changes = lock_catalogue_changes(session, claim.catalogue_id)
        old = live_index(session, claim.catalogue_id)
        if old is not None:
            _retire(session, old, changes)
        change_version(session, version, state="live", promoted_at=now_s(), retired_at=None)
        emit(
            session,
            event,
            claim.catalogue,
            {
                "index": version.number,
                "detector": version.detector,
                "embedder": version.embedder,
                "before": None if old is None else old.number,
            },
        )


def _retire(session: Session, old: IndexVersion, changes: int) -> None:
    """Retire a version: it is not written any more, and stays as incomplete as it was."""
    since = changes if old.stale_since is None else old.stale_since
    change_version(session, old, state="retired", retired_at=now_s(), stale_since=since)


def _complete(session: Session, version: IndexVersion) -> None:
    change_version(session, version, stale_since=None)


def _await_searchers(context: JobContext, claim: ChunkClaim, version: IndexVersion) -> None:
    """Require every search worker to have loaded the version's models, so that no search waits or fails."""
    waiting = []
    for process in Presence(context.database).list_alive():
        if process.role != "search":
            continue
        pipelines = process.details.get("pipelines", [])
        if any(context.pipelines.serves(found, version) for found in pipelines):
            continue
        reason = process.details.get("not_loaded", {}).get(version.embedder)
        if reason is not None:
            raise Misconfigured(f"{process.name} on {process.host} cannot load this index's models: {reason}")
        waiting.append(process.name)
    if not waiting:
        return
    with context.database.read() as session:
        started = session.get_one(Job, claim.job_id).started_at or now_s()
    if now_s() - started > context.gate.wait_s and claim.kind != "reprocess":
        raise Misconfigured(
            f"{', '.join(waiting)} did not load the models of index {version.number} in "
            f"{context.gate.wait_s:g} s: see its log, or promote with --force."
        )
    raise Unavailable(f"{', '.join(waiting)} is still loading the models of index {version.number}.")
