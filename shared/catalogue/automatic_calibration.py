"""Create calibration jobs for index versions whose calibration is missing or stale.

Decides from the current state, not from events, so it is safe to repeat and to run concurrently. Processes
that promote or import need not know of it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from shared.catalogue.ranking import KIND
from shared.contracts.states import ENDED_STATES, IndexState, JobKind
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.tables import Calibration, Catalogue, IndexVersionRow, Job, Product
from shared.errors import UnknownCatalogue
from shared.jobs.create import add_job
from shared.jobs.states import BACKGROUND

log = logging.getLogger(__name__)

#: Share of added, deleted or re-pictured products from which a calibration is repeated.
CHANGED_SHARE = 0.2
#: Kinds of jobs that change the input of a calibration: it is created when they have ended.
_CHANGING = (
    JobKind.IMPORT,
    JobKind.REPROCESS,
    JobKind.REBUILD,
    JobKind.PROMOTE,
    JobKind.ROLLBACK,
    JobKind.DROP,
)
_WRITING = (JobKind.IMPORT, JobKind.PUT, JobKind.DELETE)
#: Options that mark a job as created by the system.
ORIGIN = {"origin": "system"}

Need = Literal["later", "none", "make"]


class _Live(NamedTuple):
    catalogue_id: int
    name: str
    changes: int
    version_id: int


class CalibrationScheduler:
    """Creates calibration jobs, which yield to all other work.

    Args:
        min_products: smaller catalogues are skipped, unless they were calibrated before.
        changed_share: share of products that were added, deleted or got other pictures since the last
            calibration of the live index version from which it is repeated.
    """

    def __init__(self, database: Database, min_products: int, changed_share: float = CHANGED_SHARE) -> None:
        self._database = database
        self._min_products = min_products
        self._changed_share = changed_share
        # State of catalogues that need no calibration: not counted again until they change.
        self._settled: dict[int, tuple[int, int]] = {}

    def schedule(self) -> list[str]:
        """Check every catalogue once; return the ids of the created jobs."""
        with self._database.read() as session:
            rows = session.execute(_LIVE).all()
        found = [_Live(*row) for row in rows]
        created = [job for live in found if (job := self._schedule(live)) is not None]
        if created:
            log.info("created calibration jobs for %d catalogues", len(created))
        return created

    def _schedule(self, live: _Live) -> str | None:
        state = live.changes, live.version_id
        if self._settled.get(live.catalogue_id) == state:
            return None
        with self._database.read() as session:
            need = self._need(session, live)
        if need == "none":
            self._settled[live.catalogue_id] = state
        return self._create(live) if need == "make" else None

    def _create(self, live: _Live) -> str | None:
        """Check again with the catalogue locked, so that only one of several processes creates the job."""
        with self._database.write() as session:
            try:
                catalogue_row = find_catalogue(session, live.name, "no_key_update")
            except UnknownCatalogue:  # deleted concurrently
                return None
            now = session.execute(_LIVE.where(Catalogue.id == catalogue_row.id)).one_or_none()
            if now is None or self._need(session, _Live(*now)) != "make":
                return None
            return add_job(
                session,
                catalogue_row,
                KIND,
                options=dict(ORIGIN),
                index_version=now.version_id,
                priority=BACKGROUND,
            )

    def _need(self, session: Session, live: _Live) -> Need:
        if _is_open(session, live, (*_CHANGING, KIND)):
            return "later"
        if self._is_needed(session, live):
            return "make"
        # The changes of single updates count when their jobs have ended.
        return "later" if _is_open(session, live, _WRITING) else "none"

    def _is_needed(self, session: Session, live: _Live) -> bool:
        since = _last_made(session, live)
        changed = None if since is None else _changed_since(session, live, since)
        if changed == 0 or not (_calibrated_before(session, live) or self._is_large(session, live)):
            return False
        if changed is None:
            return True
        # Products are counted only up to the number that decides.
        most = int(changed / self._changed_share)
        return _count(session, live, most + 1) <= most

    def _is_large(self, session: Session, live: _Live) -> bool:
        return _count(session, live, self._min_products) >= self._min_products


_LIVE = (
    select(Catalogue.id, Catalogue.name, Catalogue.changes, IndexVersionRow.id.label("version_id"))
    .join(IndexVersionRow, IndexVersionRow.catalogue_id == Catalogue.id)
    .where(Catalogue.deleted_name.is_(None), IndexVersionRow.state == IndexState.LIVE)
    .order_by(Catalogue.id)
)


def _is_open(session: Session, live: _Live, kinds: Sequence[str]) -> bool:
    found = select(Job.id).where(
        Job.catalogue_id == live.catalogue_id, Job.kind.in_(kinds), Job.state.not_in(ENDED_STATES)
    )
    return session.scalar(found.limit(1)) is not None


def _count(session: Session, live: _Live, most: int) -> int:
    products = select(Product.id).where(Product.catalogue_id == live.catalogue_id).limit(most).subquery()
    return session.scalar(select(func.count()).select_from(products)) or 0


def _last_made(session: Session, live: _Live) -> float | None:
    """Return when the last calibration job of the version started, whatever its outcome.

    Failed jobs are not repeated for ever, and a cancelled one only when there is a new reason.
    """
    of_job = session.scalar(
        select(func.max(func.coalesce(Job.started_at, Job.finished_at))).where(
            Job.catalogue_id == live.catalogue_id, Job.kind == KIND, Job.index_version == live.version_id
        )
    )
    if of_job is not None:
        return float(of_job)
    # The job's row may be missing, as after a restored backup.
    return session.scalar(select(Calibration.created_at).where(Calibration.index_version == live.version_id))


def _calibrated_before(session: Session, live: _Live) -> bool:
    """Return whether any version of the catalogue was calibrated: its successors are then too."""
    found = session.scalar(
        select(Calibration.index_version)
        .join(IndexVersionRow, IndexVersionRow.id == Calibration.index_version)
        .where(
            IndexVersionRow.catalogue_id == live.catalogue_id, Calibration.report["calibrated"].as_boolean()
        )
        .limit(1)
    )
    return found is not None


def _changed_since(session: Session, live: _Live, since: float) -> int:
    """Count products that ended jobs added, deleted or gave other pictures since then.

    Only new pictures count as a change, because titles and prices do not affect scores.
    """
    written, pictures = Job.new + Job.changed, Job.images + Job.images_reused
    each = case((written < pictures, written), else_=pictures) + Job.deleted
    found = session.scalar(
        select(func.sum(each)).where(
            Job.catalogue_id == live.catalogue_id,
            Job.kind.in_(_WRITING),
            Job.finished_at > since,
            func.coalesce(Job.options["dry_run"].as_boolean(), False).is_(False),
        )
    )
    return int(found or 0)
