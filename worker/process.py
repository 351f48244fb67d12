"""Build a worker process from the settings, and close it."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from shared.broker.publisher import TaskPublisher
from shared.broker.result_channel import ResultNotifier
from shared.broker.task_names import Lane
from shared.database import Database
from shared.errors import VitrineError
from shared.factories import (
    image_limits,
    open_database,
    open_image_store,
    open_import_sources,
    open_picture_sandbox,
    reveal,
)
from shared.health.presence import Presence
from shared.jobs.messages import publish_chunks
from shared.jobs.queue import JobQueue
from shared.process.background import Periodic
from shared.sandbox.budget import WORKER_WAIT_S
from shared.searches.queue import SearchQueue
from shared.settings import Settings
from worker import shutdown
from worker.calibration.calibration_store import Calibrations
from worker.indexes.flush import IndexFlusher
from worker.indexes.gate_limits import GateLimits
from worker.indexes.pipelines import Build, Pipelines, keep_loaded
from worker.indexes.probe import IndexProbe
from worker.jobs.lane import CatalogueLane
from worker.products.context import JobContext
from worker.search.lane import SearchLane
from worker.search.probe_recorder import ProbeRecorder
from worker.vector_index import MilvusIndex
from worker.vector_index.contract import VectorIndex
from worker.vision.building import build_pipeline
from worker.vision.models import CropMode
from worker.vision.pipeline import Pipeline

log = logging.getLogger(__name__)

#: Maximum batch of a model on the CPU: larger ones are no faster there (measured), and a search that comes
#: during a bulk job waits for the current batch.
_MAX_CPU_BATCH = 8


@dataclass(frozen=True)
class WorkerProcess:
    """One process of a lane: its connections, models, threads and queues.

    Attributes:
        periodics: threads that run until ``close``.
    """

    name: str
    lane: Lane
    database: Database
    index: VectorIndex
    pipelines: Pipelines
    publisher: TaskPublisher
    search: SearchLane
    catalogue: CatalogueLane
    periodics: list[Periodic]

    def take_over(self) -> None:
        """Release what an earlier process of this name held when it died: only one runs at a time."""
        jobs = self.catalogue.context.desk
        chunks = jobs.take_over()
        lost = self.search.queue.take_over() + chunks
        if chunks:
            # Their message died with that process.
            publish_chunks(self.publisher, self.database, jobs.list_overdue(1)[:1])
        if lost:
            log.warning("released %d pieces of work of an earlier process", lost)

    def close(self) -> None:
        """Stop the threads, then close connections: no thread may use one that is closed."""
        for periodic in self.periodics:
            periodic.stop()
        self.search.decoders.shutdown(cancel_futures=True)
        try:
            Presence(self.database).remove(self.name)
        except VitrineError:
            log.info("the database is away; the presence row will age out")
        self.index.close()
        self.database.close()


def build_process(
    settings: Settings, lane: Lane, name: str, index: VectorIndex | None = None
) -> WorkerProcess:
    """Connect, load the models and warm them up, then start the heartbeat that reports readiness.

    Args:
        name: of the worker, unique: a process that starts under it releases what an earlier one held.
        index: by default the Milvus that the settings name.

    Raises:
        Misconfigured: weights are missing or wrong, or the index does not fit.
    """
    # A claim or an answer that a power cut undoes is made again, so that the search lane needs no fsync.
    database = open_database(settings, durable=lane is not Lane.SEARCH)
    build = _pipeline_builder(settings)
    default = build(settings.models.detector, settings.models.embedder, None)
    default.warm_up()
    pipelines = Pipelines(default, build)
    if index is None:
        index = MilvusIndex(
            settings.milvus_uri,
            token=reveal(settings.milvus.token),
            timeout_s=settings.milvus.timeout_s,
        )
    process = _process(settings, lane, name, database, index, pipelines)
    process.take_over()
    if lane is Lane.SEARCH:
        # Before the heartbeat, and whenever a version is being filled: the first search after a promotion
        # must not wait for models to load.
        process.periodics.append(keep_loaded(database, pipelines))
    else:
        process.periodics.append(IndexFlusher(database, index).keep_flushing())
    details = _details(settings, index, pipelines, database)
    process.periodics.append(Presence(database).start_heartbeat(process.name, str(lane), details))
    return process


def _pipeline_builder(settings: Settings) -> Build:
    """Return a function that loads a pipeline by model names, on this worker's device."""
    models = settings.models
    micro_batch = models.micro_batch if models.device != "cpu" else min(models.micro_batch, _MAX_CPU_BATCH)

    def build(detector_name: str, embedder_name: str, crop: CropMode | None) -> Pipeline:
        return build_pipeline(
            models_dir=settings.models_folder,
            detector_name=detector_name,
            embedder_name=embedder_name,
            runtime=models.runtime,
            device=models.device,
            cache_dir=settings.data_dir / "models",
            threads=models.threads or _available_cores(),
            confidence=models.confidence,
            query_confidence=models.query_confidence,
            max_objects=models.max_objects,
            micro_batch=micro_batch,
            crop=crop,
            precision=models.precision,
        )

    return build


def _process(
    settings: Settings, lane: Lane, name: str, database: Database, index: VectorIndex, pipelines: Pipelines
) -> WorkerProcess:
    store = open_image_store(settings)
    decoders = ThreadPoolExecutor(settings.models.decode_threads, "decode")
    limits = image_limits(settings, catalogue=True)
    children = settings.models.decode_threads
    pictures = open_picture_sandbox(settings, children, catalogue=True, wait_s=WORKER_WAIT_S)
    pictures.warm_up()
    context = JobContext(
        database=database,
        desk=open_job_queue(settings, database, name),
        store=store,
        sources=open_import_sources(settings, store),
        index=index,
        pipelines=pipelines,
        decoders=decoders,
        limits=limits,
        pictures=pictures,
        micro_batch=settings.models.micro_batch,
        prefix=settings.milvus.prefix,
        gate=GateLimits(**settings.gate.model_dump()),
    )
    return WorkerProcess(
        name=name,
        lane=lane,
        database=database,
        index=index,
        pipelines=pipelines,
        publisher=TaskPublisher(settings.redis_url),
        search=SearchLane(
            database=database,
            queue=open_search_queue(settings, database, name),
            store=store,
            index=index,
            pipelines=pipelines,
            decoders=decoders,
            pictures=pictures,
            batch=settings.search.batch,
            notifier=ResultNotifier(settings.redis_url),
            probes=ProbeRecorder(database, settings.search.probe_share),
            calibrations=Calibrations(settings.models_folder),
        ),
        catalogue=CatalogueLane(context, settings.jobs.chunk_items, settings.jobs.hang_s),
        periodics=[],
    )


def open_search_queue(settings: Settings, database: Database, holder: str) -> SearchQueue:
    """Return the search queue, with claims in the name of ``holder``."""
    return SearchQueue(database, holder, settings.search.lease_s, settings.search.max_attempts)


def open_job_queue(settings: Settings, database: Database, holder: str) -> JobQueue:
    """Return the job queue, with claims in the name of ``holder``; it claims nothing once stopping."""
    jobs, tries = settings.jobs, settings.search.max_attempts
    return JobQueue(database, holder, jobs.lease_s, tries, jobs.window, shutdown.is_stop_requested)


def _details(
    settings: Settings, index: VectorIndex, pipelines: Pipelines, database: Database
) -> Callable[[], dict[str, Any]]:
    """Return a function that reads what `vitrine status` shows of this process and of the index."""
    probe = IndexProbe(database, index)

    def read_details() -> dict[str, Any]:
        return {
            **pipelines.default.versions,
            "pipelines": pipelines.loaded(),
            "not_loaded": pipelines.failures(),
            "runtime": settings.models.runtime,
            "device": settings.models.device,
            **probe.details(),
            "notes": pipelines.default.notes,
            "python": platform.python_version(),
        }

    return read_details


def _available_cores() -> int:
    """Return the number of cores that this process may use, which a container may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
