"""Keeping processes alive and stopping them, with real processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.services.logged_child import LoggedChild
from cli.services.run_state import read_start_time
from cli.services.service_health import FileHealth, ProbedHealth
from cli.services.supervised import SupervisedService, restart_ended, stop_together
from shared.errors import Unavailable
from shared.health.files import MAX_AGE_S, age_s, health_file, mark_unhealthy, touch
from tests.servers import wait_for

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
# Ends at SIGTERM only after its own child did: what Celery and gunicorn do.
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


class Nursery:
    """Makes supervised processes, and ends what a test leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[tuple[str, str]] = []
        self.messages: list[str] = []
        self.made: list[SupervisedService] = []

    def make(self, name: str, code: str, grace_s: float = 20.0, nice: int = 0) -> SupervisedService:
        child = LoggedChild(
            name,
            [sys.executable, "-c", code],
            dict(os.environ),
            self.folder / f"{name}.log",
            lambda who, line: self.lines.append((who, line)),
            nice,
        )
        entry = SupervisedService(name, child, grace_s, child.tail)
        self.made.append(entry)
        entry.start()
        return entry

    def wait_up(self, *entries: SupervisedService) -> None:
        for entry in entries:
            wait_for(f"{entry.name} is up", lambda e=entry: (e.name, "up") in self.lines)  # type: ignore[misc]


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    for entry in made.made:
        entry.service.kill()


def test_lines_reach_listener_log_file_and_tail(nursery: Nursery) -> None:
    entry = nursery.make("talker", "import sys; print('one'); print('zw\\u00f6lf', file=sys.stderr)")
    wait_for("its end", lambda: entry.service.poll() is not None)
    wait_for("its lines", lambda: len(entry.read_tail()) == 2)
    assert set(entry.read_tail()) == {"one", "zwölf"}
    assert set(nursery.lines) == {("talker", "one"), ("talker", "zwölf")}
    assert "zwölf" in (nursery.folder / "talker.log").read_text(encoding="utf-8")


def test_log_file_starts_anew_and_keeps_the_one_before(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.services.logged_child._MAX_LOG_BYTES", 1000)
    entry = nursery.make("talker", "for i in range(100): print(f'{i:099}')")
    wait_for("its lines", lambda: len(nursery.lines) == 100)
    wait_for("its end", lambda: entry.service.poll() is not None)
    assert (nursery.folder / "talker.log.1").stat().st_size <= 1100
    assert (nursery.folder / "talker.log").stat().st_size <= 1100
    assert len(entry.read_tail()) == 20


def test_patient_child_runs_at_its_priority(nursery: Nursery) -> None:
    entry = nursery.make("patient", SLEEPER, nice=7)
    nursery.wait_up(entry)
    assert entry.service.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, entry.service.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 7


def test_dead_child_is_started_again_after_a_pause(nursery: Nursery) -> None:
    entry = nursery.make("mortal", SLEEPER)
    nursery.wait_up(entry)
    first = entry.service.pid
    assert first is not None
    assert restart_ended([entry], nursery.messages.append, is_starting=False) is False
    os.kill(first, signal.SIGKILL)
    wait_for("it is seen", lambda: restart_ended([entry], nursery.messages.append, is_starting=False))
    assert entry.state().state == "waiting"
    assert nursery.messages == ["mortal ended with code -9; starting it again in 1 s"]
    wait_for("it runs again", lambda: restart_ended([entry], nursery.messages.append, is_starting=False))
    assert entry.state().state == "running"
    assert entry.service.pid != first
    assert entry.restarts == 1


def test_pauses_grow_to_half_a_minute(nursery: Nursery) -> None:
    entry = nursery.make("mortal", SLEEPER)
    assert [entry.schedule_restart() for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    entry.started_at -= 61  # it ran well for a minute
    assert entry.schedule_restart() == 1


def test_child_that_cannot_start_is_given_up_with_its_last_lines(nursery: Nursery) -> None:
    entry = nursery.make("broken", "raise SystemExit('there is no model')")

    def given_up() -> str | None:
        try:
            restart_ended([entry], nursery.messages.append, is_starting=True)
        except Unavailable as error:
            return error.message
        return None

    message = wait_for("it is given up", given_up)
    assert "broken ended 3 times while starting" in message
    assert "there is no model" in message


def test_stop_ends_the_willing_and_kills_the_stubborn(nursery: Nursery) -> None:
    willing = nursery.make("willing", SLEEPER)
    stubborn = nursery.make("stubborn", STUBBORN, grace_s=0.5)
    nursery.wait_up(willing, stubborn)
    stop_together([willing, stubborn], nursery.messages.append, lambda: False)
    assert (willing.service.poll(), stubborn.service.poll()) == (-signal.SIGTERM, -signal.SIGKILL)
    assert nursery.messages == ["stubborn did not end within 0 s and is killed; accepted work is kept"]


def test_impatience_kills_at_once(nursery: Nursery) -> None:
    stubborn = nursery.make("stubborn", STUBBORN, grace_s=500.0)
    nursery.wait_up(stubborn)
    stop_together([stubborn], nursery.messages.append, lambda: True)
    assert stubborn.service.poll() == -signal.SIGKILL


def test_whole_group_is_gone_when_its_leader_is(nursery: Nursery) -> None:
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print('child', child.pid, flush=True); print('up', flush=True); time.sleep(600)\n"
    )
    entry = nursery.make("parent", parent)
    nursery.wait_up(entry)
    child = int(nursery.lines[0][1].split()[1])
    assert read_start_time(child) is not None
    stop_together([entry], nursery.messages.append, lambda: False)
    wait_for("the child is gone", lambda: read_start_time(child) is None)


def test_one_that_gets_no_work_done_is_restarted(nursery: Nursery) -> None:
    """It does not end, and hears no SIGTERM: only its health file tells."""
    path = health_file(nursery.folder, "worker@here")
    hanging = nursery.make("hanging", STUBBORN)
    hanging.health, hanging.hang_timeout_s = FileHealth(path), 0.0
    nursery.wait_up(hanging)
    pid = hanging.service.pid
    assert pid is not None

    def tick() -> bool:
        return restart_ended([hanging], nursery.messages.append, is_starting=False)

    assert not tick(), "one without a file is starting"
    touch(path)
    assert not tick()
    os.kill(pid, signal.SIGSTOP)
    mark_unhealthy(path)
    assert tick()
    assert "hanging is not healthy" in nursery.messages[-1]
    wait_for("it is started again", lambda: tick() and hanging.restarts == 1)
    assert hanging.service.pid not in (None, pid)
    assert age_s(path) is None, "the file of the one before says nothing of this one"
    assert not tick()


def test_a_clock_that_jumps_restarts_nothing(nursery: Nursery) -> None:
    entry = nursery.make("steady", SLEEPER)
    path = health_file(nursery.folder, "steady@here")
    entry.health = FileHealth(path)
    touch(path)
    mark_unhealthy(path)
    assert not restart_ended([entry], nursery.messages.append, is_starting=False)
    touch(path)
    assert not restart_ended([entry], nursery.messages.append, is_starting=False)
    assert entry.unhealthy_since is None


def test_a_server_that_answers_no_more_is_restarted(nursery: Nursery) -> None:
    """It runs on, and touches no file: an embedded Milvus that stood still is like this."""
    answers = [False]
    server = nursery.make("server", SLEEPER)
    server.health, server.hang_timeout_s = ProbedHealth(lambda: answers[-1], interval_s=0.0), 0.0
    health = server.health
    nursery.wait_up(server)
    pid = server.service.pid

    def tick() -> bool:
        return restart_ended([server], nursery.messages.append, is_starting=False)

    assert not tick(), "one that never answered is starting"
    answers.append(True)
    assert not tick()
    assert health.age_s() == pytest.approx(0, abs=1)
    answers.append(False)
    assert not tick(), "one question without an answer may be chance"
    health._ready_at -= MAX_AGE_S + 1
    assert tick()
    assert "server is not healthy" in nursery.messages[-1]
    wait_for("it is started again", lambda: tick() and server.restarts == 1)
    assert server.service.pid not in (None, pid)
    assert health.age_s() is None
