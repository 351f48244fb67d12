"""Claims of chunks, their items, and the outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from shared.contracts.stored import read_stored
from shared.errors import VitrineError

Model = TypeVar("Model", bound=BaseModel)


class LostLease(VitrineError):
    """This worker no longer holds the chunk, or the job was paused or cancelled: drop the current work."""

    code = "lost_lease"


class WorkerStopping(VitrineError):
    """This process is to end: the chunk is put back."""

    code = "stopping"


class JobPreempted(VitrineError):
    """A background job is put back, because a more urgent job waits."""

    code = "gives_way"


class NewerWorkerRequired(VitrineError):
    """The chunk has items of a newer version: it is left to a newer worker."""

    code = "needs_newer_worker"


@dataclass(frozen=True, slots=True)
class ChunkClaim:
    """A chunk that this worker holds.

    Attributes:
        stage: a ``ChunkStage``.
        index_version: row id of the version that the job fills or switches; None for the live one.
        retry_of: the job whose failures this one retries; its items are then a part of that job's.
        accepted_at: when the job was accepted; for a retry, when the first job was.
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

    def read_options(self, model: type[Model]) -> Model:
        """Return the options as the request that created the job.

        Raises:
            UnreadableRow: they are damaged, or of a newer version.
        """
        return read_stored(model, self.options, "The options of this job")


@dataclass(frozen=True, slots=True)
class Item:
    """A product of a job, as requested."""

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
    """Seconds of a micro-batch by stage."""

    decode_s: float = 0.0
    detect_s: float = 0.0
    embed_s: float = 0.0
    write_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an item.

    Attributes:
        result: an ``ItemResult``.
        images: number of embedded pictures.
        reused: number of pictures whose embeddings were copied from others with the same bytes.
    """

    item: Item
    result: str
    images: int = 0
    problems: list[Problem] = field(default_factory=list)
    reused: int = 0
