"""Reports the outcome of searches to Flower, each under its own task id.

A task answers its own search together with others. Celery reports the end of that one task. The others'
tasks find nothing to do, so the process that answered them sends their events: each search then shows its
own runtime and outcome, whichever task and worker answered it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.worker.request import Request

from shared.broker.task_names import TaskName
from shared.searches.outcomes import SearchOutcome

log = logging.getLogger(__name__)

_COOL_DOWN_S = 2.0
#: Maximum number of ids that are remembered. The messages of a batch come right after it, or were lost.
_MAX_REMEMBERED = 1_000
#: Result of a task whose event was sent by ``TaskEvents``, or is to be sent by another process.
REPORTED = "reported"


class SearchFailed(Exception):
    """A search that ended with an error; Flower shows its code and message."""


class SearchRequest(Request):
    """Celery's request in the parent process, which sends no event for the result ``REPORTED``.

    Celery's own way is to raise ``Ignore`` in the task. It formats two tracebacks and pickles one of them:
    3 ms of processor time for a task that has nothing to do.
    """

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event of this task, unless it would report a search that is reported already."""
        if type != "task-succeeded" or fields.get("result") != repr(REPORTED):
            super().send_event(type, **fields)


class TaskEvents:
    """Sends Celery's task events for searches."""

    def __init__(self) -> None:
        self._retry_at = 0.0
        # In the order of their reports; the values mean nothing.
        self._reported: dict[str, None] = {}

    def has_reported(self, search_id: str) -> bool:
        """Return whether this process has sent the event of the end of this search, not long ago."""
        return search_id in self._reported

    def send(self, app: Celery, hostname: str, outcomes: Sequence[SearchOutcome]) -> None:
        """Send an event for each outcome. Never raises: events inform people, and no work depends on them.

        Args:
            app: its broker gets the events, all in one message.
            hostname: the worker's name, as Flower lists it.
        """
        events = [event for outcome in outcomes if (event := _event(outcome)) is not None]
        if not events or time.monotonic() < self._retry_at:
            return
        try:
            with app.events.default_dispatcher(hostname=hostname) as dispatcher:
                dispatcher.buffer_group = {"task"}
                for kind, fields in events:
                    dispatcher.send(kind, name=str(TaskName.ANSWER_SEARCH), **fields)
                dispatcher.flush()
        except Exception as error:  # the transport's errors have no common base
            # A frozen broker must not cost every batch its timeout.
            self._retry_at = time.monotonic() + _COOL_DOWN_S
            log.warning("Flower is not informed: %s", type(error).__name__)
        else:
            self._remember(outcomes)

    def _remember(self, outcomes: Sequence[SearchOutcome]) -> None:
        self._reported.update((outcome.id, None) for outcome in outcomes if outcome.has_ended)
        while len(self._reported) > _MAX_REMEMBERED:
            del self._reported[next(iter(self._reported))]


def _event(outcome: SearchOutcome) -> tuple[str, dict[str, Any]] | None:
    """Return the kind and the fields of Celery's event; None while the search runs."""
    fields: dict[str, Any] = {"uuid": outcome.id}
    match outcome.state:
        case "succeeded":
            result = repr({"outcome": "succeeded"})
            return "task-succeeded", {**fields, "result": result, "runtime": outcome.runtime_s}
        case "failed":
            failure = repr(SearchFailed(outcome.error))
            return "task-failed", {
                **fields,
                "exception": failure,
                "traceback": "",
                "runtime": outcome.runtime_s,
            }
        case "cancelled":
            return "task-revoked", {**fields, "terminated": False, "signum": None, "expired": False}
        case "queued":
            return "task-retried", {**fields, "exception": "it waits to be tried again", "traceback": ""}
        case _:
            return None
