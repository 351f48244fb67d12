"""What a chunk of work is made of: the claim, its items, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.errors import VitrineError


class LostLease(VitrineError):
    """This worker no longer holds the chunk, or the job was paused or cancelled: drop the work at hand."""

    code = "lost_lease"


class WorkerStopping(VitrineError):
    """This process was told to end: the chunk goes back to whoever takes it next."""

    code = "stopping"


class JobPreempted(VitrineError):
    """A job that the system began goes back to the queue: a person waits for another."""

    code = "gives_way"


class NewerWorkerRequired(VitrineError):
    """The chunk holds items of a newer version: it is left to a newer worker."""

    code = "needs_newer_worker"


@dataclass(frozen=True, slots=True)
class ChunkClaim:
    """A chunk that this worker holds.

    Attributes:
        stage: ``plan`` lists the items, ``items`` does a stretch of them, ``finish`` comes last.
        index_version: what the job fills or moves, None where it is the catalogue's live one.
        retry_of: the job of which this one does some items again; then its items are not all there is.
        accepted_at: when the job was accepted; of a retry, when its first job was.
    """

    id: str
    job_id: str
    number: int
    stage: str
    first: int
    last: int
    priority: int
    fence: int
    attempts: int
    kind: str
    catalogue_id: int
    catalogue: str
    source: dict[str, Any]
    options: dict[str, Any]
    index_version: int | None
    accepted_at: float
    retry_of: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A product of a job, as it was asked for."""

    number: int
    row: int
    product_id: str
    payload: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a product (``image`` None) or one of its pictures could not be used."""

    row: int
    product_id: str | None
    image: str | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds that a micro-batch took, by stage."""

    decode_s: float = 0.0
    detect_s: float = 0.0
    embed_s: float = 0.0
    write_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item.

    Attributes:
        result: new | changed | unchanged | deleted | failed.
        images: how many pictures were embedded.
        reused: how many were not, because others with the same bytes were.
    """

    item: Item
    result: str
    images: int = 0
    problems: list[Problem] = field(default_factory=list)
    reused: int = 0
