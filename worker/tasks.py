"""The Celery tasks: each wakes this process for a row of the database, whose id the message carries."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import Ignore

from shared.broker.task_names import Lane, TaskName
from shared.errors import VitrineError
from shared.jobs.messages import publish_chunks
from shared.process.interpreter import tune_gc
from shared.settings import Settings
from worker import shutdown as stopping
from worker.search.task_events import SearchFailed, TaskEvents

if TYPE_CHECKING:
    from worker.process import WorkerProcess

log = logging.getLogger(__name__)

_process: WorkerProcess | None = None
_events = TaskEvents()


def start(settings: Settings, lane: Lane, name: str) -> None:
    """Build this process's connections and models; called once in the spawned child."""
    # Imported here: the parent of the pool registers tasks and never runs one, and would otherwise spend two
    # seconds of processor time and 130 MB on the clients of index and models.
    from worker.process import build_process

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
    app.task(name=str(TaskName.ANSWER_SEARCH), bind=True, throws=(SearchFailed,))(answer_search)
    app.task(name=str(TaskName.WORK_CHUNK))(work_chunk)


def answer_search(task: Any, search_id: str) -> dict[str, str]:
    """Answer a search; that it is answered already is the usual case under load.

    Raises:
        SearchFailed: it ended with an error.
        Ignore: Celery is to report nothing, because events show the outcome of the search, or will.
    """
    try:
        batch = _running().search.answer(search_id)
    except (VitrineError, MemoryError) as error:
        # The row still waits, and the maintenance process publishes it again. A MemoryError that left the
        # task would end the whole worker.
        log.warning("search lane: %s", error)
        raise SearchFailed(f"It waits to be tried again: {error}") from None
    own = batch.outcome_of(search_id)
    ends_here = batch.claimed and own is not None and own.state in ("succeeded", "failed")
    others = [outcome for outcome in batch.outcomes if outcome is not own or not ends_here]
    _events.send(task.app, task.request.hostname, others)
    if own is None or not ends_here:
        raise Ignore
    if own.state == "failed":
        raise SearchFailed(own.error)
    return {"outcome": own.state}


def work_chunk(chunk_id: str) -> None:
    """Do the chunk that comes first, and publish the ones after it."""
    process = _running()
    if stopping.told():
        # This worker takes no messages any more; another one takes this message, or its successor does.
        publish_chunks(process.publisher, process.database, [chunk_id])
        return
    try:
        publish_chunks(process.publisher, process.database, process.catalogue.work_one() or [])
    except (VitrineError, MemoryError) as error:
        log.warning("catalogue lane: %s", error)


def _running() -> WorkerProcess:
    if _process is None:
        raise RuntimeError("this process was not started as a worker")
    return _process
