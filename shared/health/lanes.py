"""Whether the workers of a lane get work done, read from the rows that they write.

A heartbeat proves that a thread runs. It goes on while the consumer is stopped, consumes nothing, or fails
at the same row again and again. So a lane is judged by its work: it is healthy while nothing waits long, or
while its workers take, finish or put back items.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.broker.task_names import Lane
from shared.contracts.states import OPEN_STATES, ChunkState, SearchState
from shared.database import Database
from shared.database.clock import now_s
from shared.database.needs import is_understood
from shared.database.tables import Chunk, Job, Search
from shared.jobs.turns import next_job

#: A lane is not healthy when work waits, and no progress was recorded, for longer than this.
STALL_S = 10.0
#: Between the end of a chunk and the claim of the next one nothing runs: a stall is confirmed after this.
_CONFIRM_S = 0.3
#: Finished rows that are read to find the latest end. Rows are answered in the order of their creation.
_RECENT_ROWS = 64


@dataclass(frozen=True, slots=True)
class LaneHealth:
    """How long work waits in a lane, and for how long no worker got anything done.

    Attributes:
        oldest_s: age of the oldest item that a worker could take now, None where nothing waits.
        idle_s: seconds since a worker last took, finished or put back an item of this lane, None where none
            is on record.
    """

    lane: Lane
    oldest_s: float | None
    idle_s: float | None

    @property
    def healthy(self) -> bool:
        """Whether nothing waits long, or items are completed."""
        if self.oldest_s is None or self.oldest_s <= STALL_S:
            return True
        return self.idle_s is not None and self.idle_s <= STALL_S

    @property
    def message(self) -> str:
        """``ok``, or the stall in one sentence that names the lane."""
        if self.healthy:
            return "ok"
        done = "ever" if self.idle_s is None else f"for {self.idle_s:.0f} s"
        return (
            f"lane {self.lane} not healthy: oldest waiting {self.oldest_s or 0:.0f} s, "
            f"no worker completed anything {done}"
        )


class LaneMonitor:
    """Reads the health of lanes.

    Args:
        search_lease_s: how long the claim of a search holds: its claim was made that long before its end.
    """

    def __init__(self, database: Database, search_lease_s: float) -> None:
        self._database = database
        self._search_lease_s = search_lease_s

    def read(self, lane: Lane) -> LaneHealth:
        """Return the lane's health; a stall is read twice.

        Raises:
            DatabaseUnavailable: the rows cannot be read.
        """
        found = self._read(lane)
        if not found.healthy:
            time.sleep(_CONFIRM_S)
            found = self._read(lane)
        return found

    def _read(self, lane: Lane) -> LaneHealth:
        now = now_s()
        with self._database.read() as session:
            oldest = _oldest_search if lane is Lane.SEARCH else _oldest_chunk
            since, progress = oldest(session, now), None
            # Progress matters, and is read, only when something has waited for long.
            if since is not None and now - since > STALL_S:
                search = lane is Lane.SEARCH
                progress = (self._search_progress if search else _catalogue_progress)(session, now)
        oldest_s = None if since is None else max(now - since, 0.0)
        return LaneHealth(lane, oldest_s, None if progress is None else max(now - progress, 0.0))

    def _search_progress(self, session: Session, now: float) -> float | None:
        recent = (
            select(Search.finished_at)
            .where(Search.state.in_((SearchState.SUCCEEDED, SearchState.FAILED)), Search.created_at <= now)
            .order_by(Search.created_at.desc())
            .limit(_RECENT_ROWS)
            .subquery()
        )
        finished = session.scalar(select(func.max(recent.c.finished_at)))
        claimed = session.scalar(
            select(func.max(Search.lease_until)).where(Search.state == SearchState.RUNNING)
        )
        # A search that was put back, because Milvus is away, may be tried again from `lease_until` on.
        postponed = session.scalar(
            select(func.max(Search.lease_until)).where(
                Search.state == SearchState.QUEUED, Search.lease_until > 0
            )
        )
        claimed_at = None if claimed is None else claimed - self._search_lease_s
        return _latest(finished, claimed_at, postponed)


def _oldest_search(session: Session, now: float) -> float | None:
    """Since when the oldest claimable search waits: since it came, or was put back."""
    since = select(
        func.min(func.greatest(Search.created_at, Search.lease_until))
        if session.get_bind().dialect.name == "postgresql"
        else func.min(func.max(Search.created_at, Search.lease_until))
    )
    # A row of a newer version waits for a newer worker: no fault of those that are there.
    mine = (Search.state == SearchState.QUEUED, Search.lease_until <= now, is_understood(Search.options))
    return session.scalar(since.where(*mine))


def _oldest_chunk(session: Session, now: float) -> float | None:
    """Since when the job whose turn it is waits: since it came, or was last taken or put back."""
    job_id = next_job(session, now)
    if job_id is None:
        return None
    job = session.get_one(Job, job_id)
    waiting = select(func.min(Chunk.lease_until)).where(
        Chunk.job_id == job_id, Chunk.state == ChunkState.WAITING, Chunk.lease_until <= now
    )
    return max(job.created_at, job.claimed_at or 0.0, session.scalar(waiting) or 0.0)


def _catalogue_progress(session: Session, now: float) -> float | None:
    """When the lane last got on: now while a chunk is held, since its worker is replaced if it hangs."""
    held = select(Chunk.id).where(Chunk.state == ChunkState.RUNNING, Chunk.lease_until > now).limit(1)
    if session.scalar(held) is not None:
        return now
    samples = session.scalars(select(Job.pace).where(Job.state.in_(OPEN_STATES), Job.pace.is_not(None)))
    recorded = [float(pace[-1][0]) for pace in samples if pace]
    recent = select(Job.finished_at).order_by(Job.created_at.desc()).limit(_RECENT_ROWS).subquery()
    finished = session.scalar(select(func.max(recent.c.finished_at)))
    postponed = session.scalar(select(func.max(Chunk.lease_until)).where(Chunk.state == ChunkState.WAITING))
    claimed = session.scalar(select(func.max(Job.claimed_at)).where(Job.state.in_(OPEN_STATES)))
    return _latest(*recorded, finished, claimed, postponed or None)


def _latest(*times: float | None) -> float | None:
    return max((each for each in times if each is not None), default=None)
