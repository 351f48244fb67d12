"""Stream the progress of jobs and searches as Server-Sent Events.

Each stream holds a thread and polls the database twice a second, so the number of streams is limited
and leaves threads for other requests. Each event contains the complete current state, so clients that
lost events or reconnect with a Last-Event-ID miss nothing.
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
from web.http.path_prefix import prefix_addresses, script_root
from web.http.principals import access_check
from web.i18n.money import current_rates
from web.services import Services, services

blueprint = Blueprint("events", __name__)

#: Extension set by gunicorn's configuration: returns whether the web process still serves.
SERVING = "vitrine_serving"
_POLL_INTERVAL_S = 0.5
#: Seconds without an event after which a comment keeps the connection open and detects a lost client.
_KEEPALIVE_INTERVAL_S = 10.0
_EVENTS = "text/event-stream"
#: Fields that change with time alone and cause no event.
_TIME_FIELDS = ("rate_per_s", "eta_s", "eta_low_s", "eta_high_s")


@blueprint.get("/v1/jobs/<job_id>/events")
@operation(
    "Stream a job's progress as Server-Sent Events: `state` if the state changed, else `progress`",
    "Jobs",
    {200: _EVENTS},
)
def stream_job_events(job_id: str) -> Response:
    jobs = services().jobs
    return _stream(lambda: jobs.status(job_id).model_dump(mode="json"))


@blueprint.get("/v1/tasks/<task_id>/events")
@operation(
    "Stream a search's state as Server-Sent Events until it ends",
    "Searches",
    {200: _EVENTS},
    errors=(410,),
)
def stream_search_events(task_id: str) -> Response:
    searches, rates = services().searches, current_rates()
    return _stream(lambda: searches.status_json(task_id, lambda: rates))


def _stream(read_state: Callable[[], dict[str, Any]]) -> Response:
    """Stream the state, now and at each change, until it is final.

    Raises:
        Unavailable: too many streams are open.
        VitrineError: as the first call of ``read_state``.
    """
    first = read_state()
    parts = services()
    if not _acquire_slot(parts):
        raise Unavailable("Too many event streams are open. Poll instead, or try again later.")
    serving: Callable[[], bool] = current_app.extensions.get(SERVING, lambda: True)
    stream = _events(first, read_state, serving, access_check(), script_root())
    answer = Response(stream, mimetype=_EVENTS)
    # Not in the generator, because a generator that was never started runs no `finally`.
    answer.call_on_close(lambda: _release_slot(parts))
    answer.headers["X-Accel-Buffering"] = "no"
    return answer


def _acquire_slot(parts: Services) -> bool:
    """Acquire a stream slot and a waiter slot, which together leave two threads free."""
    if not parts.streams.acquire(blocking=False):
        return False
    if not parts.waiters.acquire(blocking=False):
        parts.streams.release()
        return False
    return True


def _release_slot(parts: Services) -> None:
    parts.waiters.release()
    parts.streams.release()


def _events(
    state: dict[str, Any],
    read_state: Callable[[], dict[str, Any]],
    serving: Callable[[], bool],
    has_access: Callable[[], bool],
    root: str,
) -> Iterator[str]:
    number, sent_at, previous = 0, time.monotonic(), None
    while True:
        if previous is None or _progress(previous) != _progress(state):
            number, sent_at = number + 1, time.monotonic()
            changed = previous is None or _phase(previous) != _phase(state)
            yield _event("state" if changed else "progress", number, state, root)
            previous = state
        if state["state"] in ENDED_STATES or not serving():
            return
        if time.monotonic() - sent_at > _KEEPALIVE_INTERVAL_S:
            sent_at = time.monotonic()
            yield ": keep-alive\n\n"
        time.sleep(_POLL_INTERVAL_S)
        try:
            if not has_access():
                return  # the key or the session has ended
            state = read_state()
        except Unavailable:
            continue  # until the database is back or the client disconnects
        except VitrineError:
            return  # the search or job expired or was deleted


def _progress(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in _TIME_FIELDS}


def _phase(state: dict[str, Any]) -> tuple[Any, ...]:
    return state["state"], state.get("phase")


def _event(kind: str, number: int, data: dict[str, Any], root: str) -> str:
    text = prefix_addresses(json.dumps(data).encode(), root).decode()
    # ASCII only, because some clients split lines at other Unicode line ends too.
    return f"event: {kind}\nid: {number}\ndata: {text}\n\n"
