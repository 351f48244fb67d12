"""The tasks: doorbells that make this process look at the ledger. Ids in the messages only name
the row that rang, so that Flower shows it."""

from __future__ import annotations

import logging

from celery import Celery

from shared.errors import VitrineError
from shared.interpreter import settle
from shared.settings import Settings
from shared.task_names import Lane, TaskName
from worker import stopping
from worker.lanes import WorkerProcess, build_process

log = logging.getLogger(__name__)

_process: WorkerProcess | None = None


def start(settings: Settings, lane: Lane, name: str) -> None:
    """Build this process's connections and models; called once in the spawned child."""
    global _process
    _process = build_process(settings, lane, name)
    settle()
    for versions in _process.pipelines.loaded():
        log.info("ready: %s", ", ".join(f"{k} {v}" for k, v in versions.items()))


def stop() -> None:
    if _process is not None:
        _process.close()


def register(app: Celery) -> None:
    """Give the tasks to a Celery application."""
    app.task(name=str(TaskName.ANSWER_SEARCHES))(answer_searches)
    app.task(name=str(TaskName.WORK_CHUNK))(work_chunk)


def answer_searches(search_id: str) -> None:
    """Answer every search that waits, and stand by for more; that none waits is the usual case under load."""
    process = _running()
    try:
        if process.search.stand_by():
            process.doorbell.ring(TaskName.ANSWER_SEARCHES, search_id)
    except (VitrineError, MemoryError) as error:
        # The ledger still has the work: the sweeper rings again. A MemoryError that left the task
        # would end the whole worker.
        log.warning("search lane: %s", error)


def work_chunk(chunk_id: str) -> None:
    """Do the chunk that goes first, and ring for the ones after it."""
    process = _running()
    if stopping.told():
        # This worker takes no messages any more: the bell is heard by another, or by the one after it.
        process.doorbell.ring(TaskName.WORK_CHUNK, chunk_id)
        return
    try:
        for following in process.catalogue.work_one() or []:
            process.doorbell.ring(TaskName.WORK_CHUNK, following)
    except (VitrineError, MemoryError) as error:
        log.warning("catalogue lane: %s", error)


def _running() -> WorkerProcess:
    if _process is None:
        raise RuntimeError("this process was not started as a worker")
    return _process
