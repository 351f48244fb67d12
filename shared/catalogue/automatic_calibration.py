"""Calibrations that nobody has to ask for: made when an index version has none, or a stale one.

What is looked at is how things are, not what happened: who looks again after a death, or beside another,
comes to the same end. So the process that promotes or imports need not know of it.
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

#: Of jobs, those that change what a calibration would be made of: it is made when they have ended.
_CHANGING = (
    JobKind.IMPORT,
    JobKind.REPROCESS,
    JobKind.REBUILD,
    JobKind.PROMOTE,
    JobKind.ROLLBACK,
    JobKind.DROP,
)
_WRITING = (JobKind.IMPORT, JobKind.PUT, JobKind.DELETE)
#: What a job says of itself that nobody asked for.
ORIGIN = {"origin": "system"}

Need = Literal["later", "none", "make"]


class _Live(NamedTuple):
    catalogue_id: int
    name: str
    changes: int
    version_id: int


class CalibrationScheduler:
    """Makes jobs that calibrate, and give way to whatever was asked for.

    Args:
        least_products: a catalogue of fewer is left alone, unless it was calibrated before.
        share: of its products; when so many got other pictures, came or went since the last calibration of
            the live index version, it is made anew.
    """

    def __init__(self, database: Database, least_products: int, share: float) -> None:
        self._database = database
        self._least_products = least_products
        self._share = share
        # Catalogues that need nothing as they are: not counted through again before they change.
        self._settled: dict[int, tuple[int, int]] = {}

    def schedule(self) -> list[str]:
        """Look at every catalogue once; return the jobs that were made."""
        with self._database.read() as session:
            rows = session.execute(_LIVE).all()
        found = [_Live(*row) for row in rows]
        made = [job for live in found if (job := self._look_at(live)) is not None]
        if made:
            log.info("%d catalogues are to be calibrated", len(made))
        return made

    def _look_at(self, live: _Live) -> str | None:
        state = live.changes, live.version_id
        if self._settled.get(live.catalogue_id) == state:
            return None
        with self._database.read() as session:
            need = self._need(session, live)
        if need == "none":
            self._settled[live.catalogue_id] = state
        return self._make(live) if need == "make" else None

    def _make(self, live: _Live) -> str | None:
        """Of several that look at once, one makes the job: the others see it when the catalogue is theirs."""
        with self._database.write() as session:
            try:
                catalogue_row = find_catalogue(session, live.name, "no_key_update")
            except UnknownCatalogue:  # deleted meanwhile
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
        if self._is_wanted(session, live):
            return "make"
        # What products put by hand changed is counted when their jobs have ended.
        return "later" if _is_open(session, live, _WRITING) else "none"

    def _is_wanted(self, session: Session, live: _Live) -> bool:
        since = _last_made(session, live)
        changed = None if since is None else _changed_since(session, live, since)
        if changed == 0 or not (_calibrated_before(session, live) or self._is_large(session, live)):
            return False
        if changed is None:
            return True
        # No more are counted than would be too many.
        most = int(changed / self._share)
        return _count(session, live, most + 1) <= most

    def _is_large(self, session: Session, live: _Live) -> bool:
        return _count(session, live, self._least_products) >= self._least_products


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
    some = select(Product.id).where(Product.catalogue_id == live.catalogue_id).limit(most).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _last_made(session: Session, live: _Live) -> float | None:
    """When the version was last calibrated, or a job to do so ended otherwise: that is not tried for ever,
    and what a person cancelled stays so until there is a new reason."""
    of_job = session.scalar(
        select(func.max(func.coalesce(Job.started_at, Job.finished_at))).where(
            Job.catalogue_id == live.catalogue_id, Job.kind == KIND, Job.index_version == live.version_id
        )
    )
    if of_job is not None:
        return float(of_job)
    # The job may be forgotten, as after a restored backup.
    return session.scalar(select(Calibration.created_at).where(Calibration.index_version == live.version_id))


def _calibrated_before(session: Session, live: _Live) -> bool:
    """Whether a version of the catalogue has probabilities of its own: then the next shall have them too."""
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
    """How many products came, went, or got other pictures by jobs that ended since then.

    Another title or price changes no score: a product counts as changed where it has new pictures.
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
