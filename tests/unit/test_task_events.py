"""What Flower gets for each outcome of a search, and how a task ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.utils.saferepr import saferepr

from shared.searches.outcomes import SearchOutcome
from worker import tasks
from worker.search.lane import BatchReport
from worker.search.task_events import REPORTED, SearchFailed, SearchRequest, TaskEvents

OWN = "own"


def outcome(search_id: str, state: str, error: str = "") -> SearchOutcome:
    return SearchOutcome(search_id, state, 0.5, error)


class Dispatcher:
    """Records events instead of sending them."""

    def __init__(self) -> None:
        self.buffer_group: set[str] = set()
        self.events: list[tuple[str, str]] = []
        self._buffer: list[tuple[str, str]] = []

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, kind: str, uuid: str, **_: object) -> None:
        assert "task" in self.buffer_group, "each event would be a message of its own"
        self._buffer.append((kind, uuid))

    def flush(self) -> None:
        self.events += self._buffer


def run(
    monkeypatch: pytest.MonkeyPatch,
    *outcomes: SearchOutcome,
    claimed: bool,
    events: TaskEvents | None = None,
) -> Any:
    """Run the task of ``OWN``; return how it ended and the events that it sent.

    Args:
        events: of the process, which remember what it has sent; None for a new process.
    """
    dispatcher = Dispatcher()
    app = SimpleNamespace(events=SimpleNamespace(default_dispatcher=lambda **_: dispatcher))
    lane = SimpleNamespace(answer=lambda _: BatchReport(claimed, list(outcomes)))
    monkeypatch.setattr(tasks, "_process", SimpleNamespace(search=lane))
    monkeypatch.setattr(tasks, "_events", events or TaskEvents())
    task = SimpleNamespace(app=app, request=SimpleNamespace(hostname="search@here"))
    try:
        ended: Any = tasks.answer_search(task, OWN)
    except SearchFailed as error:
        ended = error
    return ended, dispatcher.events


def test_a_task_ends_as_its_own_search_and_sends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    others = outcome("good", "succeeded"), outcome("bad", "failed", "code: why")
    ended, events = run(monkeypatch, outcome(OWN, "succeeded"), *others, claimed=True)
    assert ended == {"outcome": "succeeded"}
    assert events == [("task-succeeded", "good"), ("task-failed", "bad")]


def test_a_failed_search_fails_its_task_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, events = run(monkeypatch, outcome(OWN, "failed", "not_found: why"), claimed=True)
    assert isinstance(ended, SearchFailed)
    assert "not_found" in str(ended)
    assert events == []


@pytest.mark.parametrize(
    ("state", "event"),
    [
        ("succeeded", "task-succeeded"),
        ("failed", "task-failed"),
        ("cancelled", "task-revoked"),
        ("queued", "task-retried"),
        ("running", None),
    ],
)
def test_a_search_that_was_not_answered_here_is_shown_as_its_row_is(
    monkeypatch: pytest.MonkeyPatch, state: str, event: str | None
) -> None:
    ended, events = run(monkeypatch, outcome(OWN, state), claimed=False)
    assert ended == REPORTED
    assert events == ([(event, OWN)] if event else [])


def test_a_search_that_is_unknown_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, events = run(monkeypatch, claimed=False)
    assert ended == REPORTED
    assert events == []


def test_an_unreadable_search_is_shown_beside_those_that_were_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The row was put back: its task answered the others, and says that it waits."""
    both = outcome(OWN, "queued"), outcome("good", "succeeded")
    ended, events = run(monkeypatch, *both, claimed=False)
    assert ended == REPORTED
    assert events == [("task-retried", OWN), ("task-succeeded", "good")]


def test_a_search_that_this_process_reported_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    events, mine = TaskEvents(), outcome(OWN, "succeeded")
    assert run(monkeypatch, mine, claimed=False, events=events) == (REPORTED, [("task-succeeded", OWN)])
    assert run(monkeypatch, mine, claimed=False, events=events) == (REPORTED, [])


def test_a_search_that_waits_again_is_not_taken_for_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    events = TaskEvents()
    assert run(monkeypatch, outcome(OWN, "queued"), claimed=False, events=events)[0] == REPORTED
    ended, _ = run(monkeypatch, outcome(OWN, "succeeded"), claimed=True, events=events)
    assert ended == {"outcome": "succeeded"}


def test_what_was_reported_is_remembered_for_a_while_only() -> None:
    events = TaskEvents()
    app: Any = SimpleNamespace(events=SimpleNamespace(default_dispatcher=lambda **_: Dispatcher()))
    for n in range(1_001):
        events.send(app, "search@here", [outcome(str(n), "succeeded")])
    assert [events.has_reported(search_id) for search_id in ("0", "1", "1000")] == [False, True, True]


@pytest.mark.parametrize(
    ("kind", "fields", "sent"),
    [
        ("task-started", {}, True),
        ("task-succeeded", {"result": repr({"outcome": "succeeded"})}, True),
        ("task-succeeded", {"result": saferepr(REPORTED)}, False),
        ("task-failed", {"exception": "SearchFailed('code: why')"}, True),
    ],
)
def test_celery_reports_a_task_unless_its_search_is_reported_otherwise(
    kind: str, fields: dict[str, str], sent: bool
) -> None:
    events: list[str] = []
    request: Any = SearchRequest.__new__(SearchRequest)
    request._eventer = SimpleNamespace(enabled=True, send=lambda kind, **_: events.append(kind))
    request._task = SimpleNamespace(send_events=True)
    request.id = OWN
    request.send_event(kind, **fields)
    assert events == ([kind] if sent else [])
