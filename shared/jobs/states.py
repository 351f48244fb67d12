"""The states of jobs and chunks, and how urgent a chunk is."""

from __future__ import annotations

from shared.database.needs import is_understood
from shared.database.tables import Chunk, Job

#: One product put by hand goes before the chunks of a bulk import. What goes soon goes before bulk work that
#: waits, and gives way to products put by hand. What the system began by itself gives way to everything.
URGENT, ELEVATED, BULK, BACKGROUND = 0, 5, 10, 20
#: Of jobs whose chunks may be taken. A paused job is neither open nor ended.
OPEN_STATES = ("queued", "running")
#: Every kind of job; a worker leaves other kinds to a newer one. ``worker.jobs.lane`` does them.
KINDS = (
    *("import", "put", "delete", "drop", "rebuild", "reprocess"),
    *("promote", "rollback", "prune", "reconcile", "calibrate", "duplicates"),
)
#: Of chunks.
UNFINISHED = ("held", "waiting", "running")


#: A worker takes chunks of these jobs only: the others need a newer one, and keep their place.
IS_UNDERSTOOD = (Job.kind.in_(KINDS), is_understood(Job.options))


def new_chunk(job_id: str, number: int, first: int, last: int, priority: int, stage: str = "items") -> Chunk:
    """Return a chunk of items ``first`` to ``last``, both included; that of stage ``finish`` is held back."""
    return Chunk(
        id=f"{job_id}:{number}",
        job_id=job_id,
        number=number,
        first=first,
        last=last,
        priority=priority,
        stage=stage,
        state="held" if stage == "finish" else "waiting",
    )
