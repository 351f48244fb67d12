"""Limit the number of waiting jobs of one caller and of one catalogue."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from shared.contracts.states import JobState
from shared.database.tables import Catalogue, Job
from shared.errors import Overloaded
from shared.jobs.turns import IS_OPEN


def require_room(session: Session, caller: str, catalogue: Catalogue | None, maximum: int) -> None:
    """Raise Overloaded if the caller or the catalogue has ``maximum`` jobs that have not started.

    Concurrent requests may exceed it by their number.
    """
    name = "NAME" if catalogue is None else catalogue.name
    if _waiting(session, Job.caller == caller, maximum) >= maximum:
        raise _too_many(f"{maximum} jobs of yours", name)
    if catalogue is not None and _waiting(session, Job.catalogue_id == catalogue.id, maximum) >= maximum:
        raise _too_many(f"{maximum} jobs of catalogue {name!r}", name)


def _waiting(session: Session, which: ColumnElement[bool], maximum: int) -> int:
    """Count waiting jobs, at most ``maximum`` of them."""
    waiting = select(Job.id).where(which, IS_OPEN, Job.state == JobState.QUEUED).limit(maximum).subquery()
    return session.scalar(select(func.count()).select_from(waiting)) or 0


def _too_many(what: str, catalogue: str) -> Overloaded:
    return Overloaded(
        f"{what} wait already (VITRINE_JOBS__MAX_WAITING). Send many products as one import, "
        f"POST /v1/catalogues/{catalogue}/imports, instead of one request each; or try again when some have "
        "begun."
    )
