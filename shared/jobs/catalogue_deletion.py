"""A catalogue as a whole is deleted: its name is free at once, what it held goes by a job.

The row of the catalogue stays under a name that nobody can ask for, as long as the job that deletes it is
remembered. So nothing new can begin on what is on its way out, the name can be taken again the moment
after, and a worker that comes late still finds whom its rows would belong to, and that nobody wants them.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.contracts import ENDED_STATES
from shared.database.catalogue_rows import find_catalogue
from shared.database.idempotency import AcceptedRequest
from shared.database.tables import Catalogue, Job
from shared.errors import UnknownCatalogue
from shared.jobs.create import add_job, require_idle
from shared.jobs.states import ELEVATED

KIND = "drop"


def accept(session: Session, name: str) -> AcceptedRequest:
    """Take the catalogue out of everybody's sight, and add the job that deletes what it holds.

    SearchSource again while that job goes on, it returns the same one.

    Raises:
        UnknownCatalogue: there is none, nor is one of this name being deleted.
        Conflict: jobs work on it.
    """
    try:
        place = find_catalogue(session, name, "update")
    except UnknownCatalogue:
        going_on = session.scalar(
            select(Job.id)
            .join(Catalogue, Catalogue.id == Job.catalogue_id)
            .where(Catalogue.deleted_name == name, Job.kind == KIND, Job.state.not_in(ENDED_STATES))
            .order_by(Job.created_at.desc())
            .limit(1)
        )
        if going_on is None:
            raise
        return AcceptedRequest(going_on, False)
    require_idle(session, place.id)
    # No catalogue can be asked for by a name with a tilde.
    place.deleted_name, place.name = name, f"~{place.id}"
    return AcceptedRequest(add_job(session, place, KIND, priority=ELEVATED), True)
