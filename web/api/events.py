"""Server-Sent Events: the progress of a job, and the end of a search, told as they happen.

Each stream holds a thread and looks at the ledger twice a second, so the number of streams is bounded
and always leaves threads for everybody else. An event carries the whole present state: whoever lost
some, or comes back with a Last-Event-ID, misses nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, current_app

from shared.contracts import ENDED_STATES
from shared.errors import Unavailable, VitrineError
from web.api.openapi import operation
from web.i18n.money import rates_in_force
from web.services import Services, services

blueprint = Blueprint("events", __name__)

#: Set by gunicorn's configuration: whether the web process still serves.
SERVING = "vitrine_serving"
_LOOK_S = 0.5
#: A comment after so much silence shows proxies, and us, that the other side is still there.
_SILENCE_S = 10.0
_EVENTS = "text/event-stream"
#: What changes by the clock alone is no news.
_CLOCKED = ("rate_per_s", "eta_s", "eta_low_s", "eta_high_s")


@blueprint.get("/v1/jobs/<job_id>/events")
@operation(
    "A job's progress as Server-Sent Events, until it ends: `state` when it changed, else `progress`",
    "Jobs",
    {200: _EVENTS},
    errors=(404, 503),
)
def job_events(job_id: str) -> Response:
    jobs = services().jobs
    return stream(lambda: jobs.status(job_id).model_dump(mode="json"))


@blueprint.get("/v1/tasks/<task_id>/events")
@operation(
    "A search's state as Server-Sent Events, until it ends",
    "Searches",
    {200: _EVENTS},
    errors=(404, 410, 503),
)
def task_events(task_id: str) -> Response:
    searches, rates = services().searches, rates_in_force()
    return stream(lambda: searches.status_json(task_id, rates))


def stream(look: Callable[[], dict[str, Any]]) -> Response:
    """Answer with what ``look`` returns, now and at each change, until its state is an end.

    Raises:
        Unavailable: too many streams are open.
        VitrineError: what the first look raises.
    """
    first = look()
    parts = services()
    if not _take_place(parts):
        raise Unavailable("Too many event streams are open: poll instead, or try again later.")
    serving: Callable[[], bool] = current_app.extensions.get(SERVING, lambda: True)
    answer = Response(_events(first, look, serving), mimetype=_EVENTS)
    # Not in the generator: one that was never begun runs no `finally`.
    answer.call_on_close(lambda: _leave_place(parts))
    answer.headers["X-Accel-Buffering"] = "no"
    return answer


def _take_place(parts: Services) -> bool:
    """A stream also counts as one who waits: both together leave two threads free."""
    if not parts.streams.acquire(blocking=False):
        return False
    if not parts.waiters.acquire(blocking=False):
        parts.streams.release()
        return False
    return True


def _leave_place(parts: Services) -> None:
    parts.waiters.release()
    parts.streams.release()


def _events(
    state: dict[str, Any], look: Callable[[], dict[str, Any]], serving: Callable[[], bool]
) -> Iterator[str]:
    number, said_at, before = 0, time.monotonic(), None
    while True:
        if before is None or _news(before) != _news(state):
            number, said_at = number + 1, time.monotonic()
            changed = before is None or _standing(before) != _standing(state)
            yield _event("state" if changed else "progress", number, state)
            before = state
        if state["state"] in ENDED_STATES or not serving():
            return
        if time.monotonic() - said_at > _SILENCE_S:
            said_at = time.monotonic()
            yield ": still here\n\n"
        time.sleep(_LOOK_S)
        try:
            state = look()
        except Unavailable:
            continue  # the database comes back, or the reader goes
        except VitrineError:
            return  # expired, or deleted with its catalogue


def _news(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in _CLOCKED}


def _standing(state: dict[str, Any]) -> tuple[Any, ...]:
    return state["state"], state.get("phase")


def _event(kind: str, number: int, data: dict[str, Any]) -> str:
    # In ASCII: some readers take more characters than these two for the end of a line.
    return f"event: {kind}\nid: {number}\ndata: {json.dumps(data)}\n\n"
