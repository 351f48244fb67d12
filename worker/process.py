"""Builds what a worker process needs, once, from the settings; tears it down at its end."""

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
from worker import shutdown as stopping
from worker.calibration.calibration_store import Calibrations
from worker.indexes.flush import IndexFlusher
from worker.indexes.gate_limits import GateLimits
from worker.indexes.pipelines import Build, Pipelines, keep_loaded
from worker.indexes.probe import IndexProbe
from worker.jobs.lane import CatalogueLane
from worker.maintenance.probing import ProbeNotes
from worker.products.context import JobContext
from worker.search.lane import SearchLane
from worker.vector_index import MilvusIndex
from worker.vector_index.contract import VectorIndex
from worker.vision.models import CropMode
from worker.vision.pipeline import Pipeline, build_pipeline

log = logging.getLogger(__name__)

#: Images in one call of a model on the CPU: more are no faster there (measured), and who waits for the
#: model while a bulk job runs waits for one call.
_CPU_BATCH = 8


@dataclass(frozen=True)
class WorkerProcess:
    """One process of a lane: its connections, its models, and the lane's work."""

    name: str
    lane: Lane
    database: Database
    index: VectorIndex
    pipelines: Pipelines
    publisher: TaskPublisher
    search: SearchLane
    catalogue: CatalogueLane
    beside: list[Periodic]

    def take_over(self) -> None:
        """Put back what a process of this name held when it died: there is one at a time."""
        jobs = self.catalogue.tools.desk
        chunks = jobs.take_over()
        lost = self.search.desk.take_over() + chunks
        if chunks:
            # The dead process had taken their message.
            publish_chunks(self.publisher, self.database, jobs.list_overdue(1)[:1])
        if lost:
            log.warning("took over %d pieces of work from an earlier process", lost)

    def close(self) -> None:
        """End the threads first: none may use a connection that is closed under it."""
        for periodic in self.beside:
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
    """Connect, load the models, warm them up, and begin to say that this process is ready.

    Args:
        name: the worker's, one worker's only: a process that starts under it takes over what an earlier
            one held when it died.
        index: by default the Milvus that the settings name.

    Raises:
        Misconfigured: weights are missing or wrong, or the index does not fit.
    """
    # What the search lane commits is a claim or an answer: undone by a power cut, it is done again.
    database = open_database(settings, durable=lane is not Lane.SEARCH)
    build = _builder(settings)
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
        # Before this process says that it is ready, and again as soon as a version is being filled: its
        # models must not be loaded at the first search after its promotion.
        process.beside.append(keep_loaded(database, pipelines))
    else:
        process.beside.append(IndexFlusher(database, index).keep_flushing())
    details = _details(settings, index, pipelines, database)
    process.beside.append(Presence(database).start_heartbeat(process.name, str(lane), details))
    return process


def _builder(settings: Settings) -> Build:
    """Return what loads a pipeline by names, on this worker's device."""
    models = settings.models

    def build(detector_name: str, embedder_name: str, crop: CropMode | None) -> Pipeline:
        return build_pipeline(
            models_dir=settings.models_folder,
            detector_name=detector_name,
            embedder_name=embedder_name,
            runtime=models.runtime,
            device=models.device,
            cache_dir=settings.data_dir / "models",
            threads=models.threads or _cores(),
            confidence=models.confidence,
            query_confidence=models.query_confidence,
            max_objects=models.max_objects,
            micro_batch=models.micro_batch if models.device != "cpu" else min(models.micro_batch, _CPU_BATCH),
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
    tools = JobContext(
        database=database,
        desk=job_desk(settings, database, name),
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
            desk=search_desk(settings, database, name),
            store=store,
            index=index,
            pipelines=pipelines,
            decoders=decoders,
            pictures=pictures,
            batch=settings.search.batch,
            notifier=ResultNotifier(settings.redis_url),
            probes=ProbeNotes(database, settings.search.probe_share),
            calibrations=Calibrations(settings.models_folder),
        ),
        catalogue=CatalogueLane(tools, settings.jobs.chunk_items, settings.jobs.hang_s),
        beside=[],
    )


def search_desk(settings: Settings, database: Database, holder: str) -> SearchQueue:
    return SearchQueue(database, holder, settings.search.lease_s, settings.search.max_attempts)


def job_desk(settings: Settings, database: Database, holder: str) -> JobQueue:
    jobs, tries = settings.jobs, settings.search.max_attempts
    return JobQueue(database, holder, jobs.lease_s, tries, jobs.window, stopping.told)


def _details(
    settings: Settings, index: VectorIndex, pipelines: Pipelines, database: Database
) -> Callable[[], dict[str, Any]]:
    """Return what `vitrine status` shows of this process, the state of the index with it."""
    probe = IndexProbe(database, index)

    def now() -> dict[str, Any]:
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

    return now


def _cores() -> int:
    """Cores this process may use: a container's limit counts, not the machine's size."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
