"""What Flower gets for each outcome of a search, and how a task ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Ignore

from shared.searches.outcomes import SearchOutcome
from worker import tasks
from worker.search.lane import BatchReport
from worker.search.task_events import SearchFailed

OWN = "own"


def outcome(search_id: str, state: str, error: str = "") -> SearchOutcome:
    return SearchOutcome(search_id, state, 0.5, error)


class Dispatcher:
    """Records events instead of sending them."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, kind: str, uuid: str, **_: object) -> None:
        self.events.append((kind, uuid))


def run(monkeypatch: pytest.MonkeyPatch, *outcomes: SearchOutcome, claimed: bool) -> Any:
    """Run the task of ``OWN``; return how it ended and the events that it sent."""
    dispatcher = Dispatcher()
    app = SimpleNamespace(events=SimpleNamespace(default_dispatcher=lambda **_: dispatcher))
    lane = SimpleNamespace(answer=lambda _: BatchReport(claimed, list(outcomes)))
    monkeypatch.setattr(tasks, "_process", SimpleNamespace(search=lane))
    task = SimpleNamespace(app=app, request=SimpleNamespace(hostname="search@here"))
    try:
        ended: Any = tasks.answer_search(task, OWN)
    except (Ignore, SearchFailed) as error:
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
    assert isinstance(ended, Ignore)
    assert events == ([(event, OWN)] if event else [])


def test_a_search_that_is_unknown_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, events = run(monkeypatch, claimed=False)
    assert isinstance(ended, Ignore)
    assert events == []


def test_an_unreadable_search_is_shown_beside_those_that_were_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The row was put back: its task answered the others, and says that it waits."""
    both = outcome(OWN, "queued"), outcome("good", "succeeded")
    ended, events = run(monkeypatch, *both, claimed=False)
    assert isinstance(ended, Ignore)
    assert events == [("task-retried", OWN), ("task-succeeded", "good")]
