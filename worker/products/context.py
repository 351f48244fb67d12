"""What everything that works on a catalogue works with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.database import Database
from shared.images import ImageLimits
from shared.imports.opening import ImportSources
from shared.jobs.queue import JobQueue
from shared.jobs.work import ChunkClaim
from shared.sandbox import PictureSandbox
from shared.storage.image_store import ImageStore
from worker.indexes.gate_limits import GateLimits
from worker.indexes.pipelines import Pipelines
from worker.vector_index.contract import VectorIndex


@dataclass(frozen=True)
class JobContext:
    """What every kind of job works with.

    Attributes:
        limits: what a picture may be.
        pictures: decodes them, in child processes.
        micro_batch: products between two commits.
        prefix: of the collections' names.
        gate: what a new index version must keep to.
        give_way: called between two micro-batches of bulk work: does what somebody waits for.
    """

    database: Database
    desk: JobQueue
    store: ImageStore
    sources: ImportSources
    index: VectorIndex
    pipelines: Pipelines
    decoders: ThreadPoolExecutor
    limits: ImageLimits
    pictures: PictureSandbox
    micro_batch: int
    prefix: str
    gate: GateLimits
    give_way: Callable[[ChunkClaim], None] = lambda claim: None
