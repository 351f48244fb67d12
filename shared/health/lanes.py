"""Read from the rows that workers write whether the workers of a lane complete work.

A heartbeat proves only that a thread runs. It continues while the consumer is stopped, consumes nothing, or
fails at the same row repeatedly. Therefore a lane is healthy while nothing waits long, or while its workers
claim, finish or put back items.
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
from shared.jobs.pace import readable_samples
from shared.jobs.turns import IS_RUNNING, next_job

#: Time without progress after which a lane with waiting work is not healthy.
STALL_S = 10.0
#: Delay before a stall is confirmed: nothing runs between the end of a chunk and the claim of the next one.
_CONFIRM_S = 0.3
#: Number of recent rows among which the latest end is searched; rows are processed in order of creation.
_RECENT_ROWS = 64


@dataclass(frozen=True, slots=True)
class LaneHealth:
    """Waiting time and idle time of a lane.

    Attributes:
        oldest_s: age of the oldest claimable item; None if nothing waits.
        idle_s: seconds since a worker last claimed, finished or put back an item; None without a record.
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
        """``ok``, or a sentence about the stall that names the lane."""
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
        search_lease_s: duration of a search's lease, to compute the time of a claim from its end.
    """

    def __init__(self, database: Database, search_lease_s: float) -> None:
        self._database = database
        self._search_lease_s = search_lease_s

    def read(self, lane: Lane) -> LaneHealth:
        """Return the lane's health; a stall is confirmed by a second read.

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
            # Progress is read only if something has waited for long.
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
        # A search that was put back because Milvus is unavailable may be retried from `lease_until` on.
        postponed = session.scalar(
            select(func.max(Search.lease_until)).where(
                Search.state == SearchState.QUEUED, Search.lease_until > 0
            )
        )
        claimed_at = None if claimed is None else claimed - self._search_lease_s
        return _latest(finished, claimed_at, postponed)


def _oldest_search(session: Session, now: float) -> float | None:
    """Return since when the oldest claimable search has waited: its creation, or when it was put back."""
    since = select(
        func.min(func.greatest(Search.created_at, Search.lease_until))
        if session.get_bind().dialect.name == "postgresql"
        else func.min(func.max(Search.created_at, Search.lease_until))
    )
    # A row of a newer version waits for a newer worker and does not count.
    claimable = (Search.state == SearchState.QUEUED, Search.lease_until <= now, is_understood(Search.options))
    return session.scalar(since.where(*claimable))


def _oldest_chunk(session: Session, now: float) -> float | None:
    """Return since when the next job has waited: its creation, last claim, or when it was put back."""
    job_id = next_job(session, now)
    if job_id is None:
        return None
    job = session.get_one(Job, job_id)
    waiting = select(func.min(Chunk.lease_until)).where(
        Chunk.job_id == job_id, Chunk.state == ChunkState.WAITING, Chunk.lease_until <= now
    )
    return max(job.created_at, job.claimed_at or 0.0, session.scalar(waiting) or 0.0)


def _catalogue_progress(session: Session, now: float) -> float | None:
    """Return the time of the lane's last progress; a leased chunk counts as progress now.

    A worker that hangs with a chunk is replaced by its own watchdog.
    """
    held = select(Chunk.id).where(IS_RUNNING, Chunk.lease_until > now).limit(1)
    if session.scalar(held) is not None:
        return now
    samples = session.scalars(select(Job.pace).where(Job.state.in_(OPEN_STATES), Job.pace.is_not(None)))
    recorded = [points[-1][0] for points in map(readable_samples, samples) if points]
    recent = select(Job.finished_at).order_by(Job.created_at.desc()).limit(_RECENT_ROWS).subquery()
    finished = session.scalar(select(func.max(recent.c.finished_at)))
    postponed = session.scalar(select(func.max(Chunk.lease_until)).where(Chunk.state == ChunkState.WAITING))
    claimed = session.scalar(select(func.max(Job.claimed_at)).where(Job.state.in_(OPEN_STATES)))
    return _latest(*recorded, finished, claimed, postponed or None)


def _latest(*times: float | None) -> float | None:
    return max((each for each in times if each is not None), default=None)
