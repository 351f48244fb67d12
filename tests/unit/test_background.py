"""A thread beside the work: it goes on over errors of ours, and a stop waits for the call on its way."""

from __future__ import annotations

import threading

from shared.errors import Unavailable
from shared.process.background import Periodic
from tests.servers import wait_for


def test_goes_on_when_what_it_needs_is_away() -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(len(calls))
        raise Unavailable("away")

    periodic = Periodic("test", 0.01, fail).start()
    wait_for("a call after a failed one", lambda: len(calls) > 2)
    periodic.stop()
    assert not periodic._thread.is_alive()


def test_a_stop_returns_when_the_call_on_its_way_has_ended() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        go_on.wait()
        ended.set()

    periodic = Periodic("test", 60.0, slow, starts_now=True).start()
    begun.wait()
    stopping = threading.Thread(target=periodic.stop, daemon=True)
    stopping.start()
    assert stopping.is_alive(), "the stop did not wait for the call"
    go_on.set()
    stopping.join()
    assert ended.is_set()


def test_what_was_never_started_can_be_stopped() -> None:
    Periodic("test", 60.0, lambda: None).stop()
