"""Count waiting work by lane, exactly, using partial indexes of open rows."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import case, func, select

from shared.contracts.states import ChunkState, JobState, SearchState
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Chunk, Job, Search
from shared.jobs.states import BACKGROUND
from shared.jobs.turns import IS_OPEN

_DONE = Job.new + Job.changed + Job.unchanged + Job.deleted + Job.failed
_SEARCHES: Final = select(func.count(), func.min(Search.created_at)).where(Search.state == SearchState.QUEUED)
_JOBS: Final = select(
    func.count(),
    func.coalesce(func.sum(case((Job.total > _DONE, Job.total - _DONE), else_=0)), 0),
).where(IS_OPEN)
# Background jobs may wait as long as other work waits.
_OLDEST_JOB: Final = select(func.min(Job.created_at)).where(
    IS_OPEN, Job.state == JobState.QUEUED, Job.priority < BACKGROUND
)
_CHUNKS: Final = (
    select(func.count())
    .select_from(Job)
    .join(Chunk, Chunk.job_id == Job.id)
    .where(IS_OPEN, Chunk.state == ChunkState.WAITING)
)


def waiting_by_lane(database: Database) -> dict[str, dict[str, Any]]:
    """Return the waiting work by lane, without paused jobs.

    ``search``: ``waiting`` searches and ``oldest_s``. ``catalogue``: ``waiting`` products of open jobs, as
    far as they are listed, waiting ``chunks``, open ``jobs``, and ``oldest_s`` of the jobs that have not
    started, without background jobs. Ages are in seconds, null if nothing waits.
    """
    with database.read() as session:
        now = now_s()
        searches, oldest_search = session.execute(_SEARCHES).one()
        jobs, products = session.execute(_JOBS).one()
        chunks = session.scalar(_CHUNKS) or 0
        oldest_job = session.scalar(_OLDEST_JOB)
    return {
        "search": {"waiting": searches, "oldest_s": _age_s(now, oldest_search)},
        "catalogue": {
            "waiting": int(products),
            "chunks": chunks,
            "jobs": jobs,
            "oldest_s": _age_s(now, oldest_job),
        },
    }


def _age_s(now: float, since: float | None) -> float | None:
    return None if since is None else round(max(now - since, 0.0), 1)
