"""The states of jobs and chunks, and how urgent a chunk is."""

from __future__ import annotations

from shared.database.tables import Chunk

#: One product put by hand goes before the chunks of a bulk import. What goes soon goes before bulk work that
#: waits, and gives way to products put by hand. What the system began by itself gives way to everything.
BY_HAND, SOON, BULK, AUTOMATIC = 0, 5, 10, 20
#: Of jobs whose chunks may be taken. A paused job is neither open nor ended.
OPEN_STATES = ("queued", "running")
#: Of chunks.
UNFINISHED = ("held", "waiting", "running")


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
