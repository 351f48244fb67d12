"""States, kinds and phases of searches, jobs, chunks and index versions, as they are stored and sent."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import WithJsonSchema


def inline_values(states: type[StrEnum]) -> WithJsonSchema:
    """Return the schema of a field that lists its values in place, as OpenAPI and the docs page show it."""
    return WithJsonSchema({"type": "string", "enum": [state.value for state in states]})


class SearchState(StrEnum):
    """State of a search; the API calls a search a task."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: States of a search or job that a worker may take or has taken. A paused job is neither open nor ended.
OPEN_STATES: Final[tuple[str, ...]] = (JobState.QUEUED, JobState.RUNNING)
ENDED_STATES: Final[tuple[str, ...]] = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobPhase(StrEnum):
    """Part of a job that its open chunks belong to."""

    PLAN = "plan"
    WORK = "work"
    FINISH = "finish"


class JobKind(StrEnum):
    """What a job does; ``worker.jobs.lane`` maps each kind to its code."""

    IMPORT = "import"
    PUT = "put"
    DELETE = "delete"
    DROP = "drop"
    REBUILD = "rebuild"
    REPROCESS = "reprocess"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    PRUNE = "prune"
    RECONCILE = "reconcile"
    CALIBRATE = "calibrate"
    DUPLICATES = "duplicates"


class ChunkStage(StrEnum):
    """What a chunk does: list the items of its job, process some of them, or run the last step."""

    PLAN = "plan"
    ITEMS = "items"
    FINISH = "finish"


class ChunkState(StrEnum):
    """State of a chunk. The last chunk of a job is held until all others are done."""

    HELD = "held"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


class ItemState(StrEnum):
    """State of a product in a job."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class ItemResult(StrEnum):
    """Outcome of a product in a job."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    FAILED = "failed"


class IndexState(StrEnum):
    """State of an index version."""

    BUILDING = "building"
    READY = "ready"
    LIVE = "live"
    RETIRED = "retired"
    PRUNED = "pruned"


class DeliveryState(StrEnum):
    """State of a webhook event."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
