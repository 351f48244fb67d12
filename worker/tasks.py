"""Define the Celery tasks. A message carries the id of a database row; the row is the work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import Celery

from shared.broker.task_names import Lane, TaskName
from shared.errors import VitrineError
from shared.jobs.messages import publish_chunks
from shared.process.interpreter import tune_gc
from shared.settings import Settings
from worker import shutdown
from worker.search.task_events import REPORTED, SearchFailed, SearchRequest, TaskEvents

if TYPE_CHECKING:
    from worker.process import WorkerProcess

log = logging.getLogger(__name__)

_process: WorkerProcess | None = None
_events = TaskEvents()


def start(settings: Settings, lane: Lane, name: str) -> None:
    """Build this process's connections and models; to be called once in the spawned child."""
    # A local import: the pool's parent registers tasks and runs none. It would spend 2 s of processor time
    # and 130 MB on the clients of index and models.
    from worker.process import build_process

    global _process
    _process = build_process(settings, lane, name)
    tune_gc()
    for versions in _process.pipelines.loaded():
        log.info("ready: %s", ", ".join(f"{k} {v}" for k, v in versions.items()))


def stop() -> None:
    """Close what ``start`` opened."""
    if _process is not None:
        _process.close()


def register(app: Celery) -> None:
    """Register the tasks with a Celery application."""
    answering = app.task(
        name=str(TaskName.ANSWER_SEARCH), bind=True, throws=(SearchFailed,), Request=SearchRequest
    )
    answering(answer_search)
    app.task(name=str(TaskName.WORK_CHUNK))(work_chunk)


def answer_search(task: Any, search_id: str) -> dict[str, str] | str:
    """Answer a search, unless another task's batch answered it, which is usual under load.

    Returns:
        The outcome, or REPORTED where other events show it, or will.

    Raises:
        SearchFailed: the search ended with an error.
    """
    if _events.has_reported(search_id):
        # A batch of this process answered it: nothing is left to do or to read.
        return REPORTED
    try:
        batch = _require_process().search.answer(search_id)
    except (VitrineError, MemoryError) as error:
        # The row still waits, and the maintenance process publishes it again. An uncaught MemoryError would
        # end the whole worker.
        log.warning("search lane: %s", error)
        raise SearchFailed(f"It waits to be tried again: {error}") from None
    own = batch.outcome_of(search_id)
    ends_here = batch.claimed and own is not None and own.state in ("succeeded", "failed")
    others = [outcome for outcome in batch.outcomes if outcome is not own or not ends_here]
    _events.send(task.app, task.request.hostname, others)
    if own is None or not ends_here:
        return REPORTED
    if own.state == "failed":
        raise SearchFailed(own.error)
    return {"outcome": own.state}


def work_chunk(chunk_id: str) -> None:
    """Work on the next chunk, and publish the chunks that follow it."""
    process = _require_process()
    if shutdown.is_stop_requested():
        # Publish the message again for another worker, or for this one's successor.
        publish_chunks(process.publisher, process.database, [chunk_id])
        return
    try:
        following = process.catalogue.work_one() or []
        publish_chunks(process.publisher, process.database, following)
    except (VitrineError, MemoryError) as error:
        log.warning("catalogue lane: %s", error)


def _require_process() -> WorkerProcess:
    if _process is None:
        raise RuntimeError("this process was not started as a worker")
    return _process
