"""Dependencies shared by all catalogue jobs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.database import Database
from shared.images import ImageLimits
from shared.imports.opening import ImportSources
from shared.jobs.queue import JobQueue
from shared.jobs.work import ChunkClaim
from shared.sandbox.pool import PictureSandbox
from shared.storage.image_store import ImageStore
from worker.indexes.gate_limits import GateLimits
from worker.indexes.pipelines import Pipelines
from worker.vector_index.contract import VectorIndex


@dataclass(frozen=True)
class JobContext:
    """Dependencies shared by all catalogue jobs.

    Attributes:
        limits: of a picture's bytes and size.
        pictures: decodes pictures in child processes.
        micro_batch: maximum number of pictures between two commits.
        prefix: of the collections' names.
        gate: limits of the quality gate for a new index version.
        give_way: called between two micro-batches of bulk work; does the single updates that wait.
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
