"""The Celery tasks: each wakes this process for a row of the database, whose id the message carries."""

from __future__ import annotations

import logging

from celery import Celery

from shared.broker.task_names import Lane, TaskName
from shared.errors import VitrineError
from shared.interpreter import tune_gc
from shared.settings import Settings
from worker import stopping
from worker.lanes import WorkerProcess, build_process

log = logging.getLogger(__name__)

_process: WorkerProcess | None = None


def start(settings: Settings, lane: Lane, name: str) -> None:
    """Build this process's connections and models; called once in the spawned child."""
    global _process
    _process = build_process(settings, lane, name)
    tune_gc()
    for versions in _process.pipelines.loaded():
        log.info("ready: %s", ", ".join(f"{k} {v}" for k, v in versions.items()))


def stop() -> None:
    if _process is not None:
        _process.close()


def register(app: Celery) -> None:
    """Give the tasks to a Celery application."""
    app.task(name=str(TaskName.ANSWER_SEARCH))(answer_search)
    app.task(name=str(TaskName.WORK_CHUNK))(work_chunk)


def answer_search(search_id: str) -> None:
    """Answer a search; that it is answered already is the usual case under load."""
    try:
        _running().search.answer(search_id)
    except (VitrineError, MemoryError) as error:
        # The row still waits, and the maintenance process publishes it again. A MemoryError that left the
        # task would end the whole worker.
        log.warning("search lane: %s", error)


def work_chunk(chunk_id: str) -> None:
    """Do the chunk that comes first, and publish the ones after it."""
    process = _running()
    if stopping.told():
        # This worker takes no messages any more; another one takes this message, or its successor does.
        process.publisher.publish(TaskName.WORK_CHUNK, chunk_id)
        return
    try:
        for following in process.catalogue.work_one() or []:
            process.publisher.publish(TaskName.WORK_CHUNK, following)
    except (VitrineError, MemoryError) as error:
        log.warning("catalogue lane: %s", error)


def _running() -> WorkerProcess:
    if _process is None:
        raise RuntimeError("this process was not started as a worker")
    return _process
