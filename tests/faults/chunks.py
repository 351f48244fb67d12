"""A worker caught in the middle of a chunk: by what the ledger says, not by how far a job seems to be."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from sqlalchemy import func, select

from shared.database import Database
from shared.database.tables import Chunk, JobItem
from shared.errors import DatabaseUnavailable
from tests.servers import wait_for
from tests.stack import Stack

#: Of the picture that kills a trapped worker.
POISON_WIDTH_PX = 333
_TURN_S = 0.03


@dataclass(frozen=True)
class HeldChunk:
    """A chunk that a worker holds and has begun.

    Attributes:
        waiting: how many of its products are still to be done: one at least, and not all.
    """

    id: str
    holder: str
    waiting: int


def held_chunk(stack: Stack, job: str) -> HeldChunk | None:
    """Return the begun chunk of the job that somebody holds, None if there is none."""
    database = Database(stack.database_url, busy_timeout_s=1.0)
    try:
        with database.read() as session:
            chunk = session.scalar(
                select(Chunk).where(Chunk.job_id == job, Chunk.number > 0, Chunk.state == "running")
            )
            if chunk is None:
                return None
            waiting = session.scalar(
                select(func.count()).where(
                    JobItem.job_id == job,
                    JobItem.number.between(chunk.first, chunk.last),
                    JobItem.state == "waiting",
                )
            )
    except DatabaseUnavailable:  # its writer was frozen in the very moment of a commit
        return None
    finally:
        database.close()
    if not waiting or waiting > chunk.last - chunk.first:
        return None
    return HeldChunk(chunk.id, str(chunk.holder), waiting)


def freeze_in_a_chunk(stack: Stack, job: str) -> HeldChunk:
    """Freeze the catalogue worker with a chunk half done; what a kill leaves now is known beforehand.

    The ledger is looked at while no thread of the worker runs: at other times it may have finished
    the chunk between the look and the kill, and between two chunks it holds none. It works in short turns
    until then, or on a busy machine it might be done with the job before it is looked at.
    """

    def caught() -> HeldChunk | None:
        stack.freeze("catalogue")
        held = held_chunk(stack, job)
        if held is None:
            ended = stack.job(job)["state"] not in ("queued", "running")
            stack.signal("catalogue", signal.SIGCONT)
            assert not ended, "the job ended before it was caught"
        return held

    return wait_for("the worker is in the middle of a chunk", caught, every_s=_TURN_S)
