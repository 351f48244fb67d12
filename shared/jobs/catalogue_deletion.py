"""Delete a catalogue: free its name at once, and delete its content in a job.

The catalogue's row is kept under a name that no request can contain, as long as its deletion job is stored.
No new work can start on it, its name can be used again immediately, and a late worker still finds the row
that its rows would belong to, marked as deleted.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.contracts.states import ENDED_STATES, JobKind
from shared.database.catalogue_rows import find_catalogue
from shared.database.idempotency import AcceptedRequest
from shared.database.tables import Catalogue, Job
from shared.errors import UnknownCatalogue
from shared.jobs.create import add_job, require_idle
from shared.jobs.states import ELEVATED

KIND = JobKind.DROP


def accept(session: Session, name: str) -> AcceptedRequest:
    """Hide the catalogue, and add the job that deletes its content.

    A repeated request returns the same job while that runs.

    Raises:
        UnknownCatalogue: no catalogue of this name exists or is being deleted.
        Conflict: jobs are open on it.
    """
    try:
        catalogue = find_catalogue(session, name, "update")
    except UnknownCatalogue:
        open_job = session.scalar(
            select(Job.id)
            .join(Catalogue, Catalogue.id == Job.catalogue_id)
            .where(Catalogue.deleted_name == name, Job.kind == KIND, Job.state.not_in(ENDED_STATES))
            .order_by(Job.created_at.desc())
            .limit(1)
        )
        if open_job is None:
            raise
        return AcceptedRequest(open_job, False)
    require_idle(session, catalogue.id)
    # Requests cannot contain a name with a tilde.
    catalogue.deleted_name, catalogue.name = name, f"~{catalogue.id}"
    return AcceptedRequest(add_job(session, catalogue, KIND, priority=ELEVATED), True)
