"""Priorities of chunks, and conditions on the states of jobs and chunks."""

from __future__ import annotations

from shared.contracts.states import ChunkStage, ChunkState, JobKind
from shared.database.needs import is_understood
from shared.database.tables import Chunk, Job

#: Priorities, most urgent first: single updates and index switches; deletions of catalogues; bulk work; jobs
#: that the system created. Running background jobs yield to everything else.
URGENT, ELEVATED, BULK, BACKGROUND = 0, 5, 10, 20
#: States of chunks that still have work.
UNFINISHED = (ChunkState.HELD, ChunkState.WAITING, ChunkState.RUNNING)


#: A worker claims chunks of these jobs only; others wait for a worker of a newer version.
IS_UNDERSTOOD = (Job.kind.in_(tuple(JobKind)), is_understood(Job.options))


def new_chunk(
    job_id: str, number: int, first: int, last: int, priority: int, stage: ChunkStage = ChunkStage.ITEMS
) -> Chunk:
    """Return a chunk of items ``first`` to ``last``, both included; one of stage ``finish`` is held."""
    return Chunk(
        id=f"{job_id}:{number}",
        job_id=job_id,
        number=number,
        first=first,
        last=last,
        priority=priority,
        stage=stage,
        state=ChunkState.HELD if stage == ChunkStage.FINISH else ChunkState.WAITING,
    )
