"""Hosts whose clocks are a minute, or an hour, away from the database's do no harm (M36)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from shared.catalogue.store import CatalogueStore
from shared.contracts import SearchOptions
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Chunk, Search
from shared.health.presence import Presence
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.searches.queue import SearchQueue
from shared.searches.repository import SearchRepository, SearchSource
from tests.databases import new_postgres_database
from tests.faketime import WrongClock
from tests.servers import free_port, wait_for
from tests.stack import ROOT

pytestmark = [pytest.mark.services, pytest.mark.faults]

LEASE_S = 40.0
Start = Callable[[str, WrongClock], None]


@pytest.fixture
def database(postgres: str) -> Iterator[Database]:
    opened = Database(new_postgres_database(postgres))
    CatalogueStore(opened).create("shop")
    yield opened
    opened.close()


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Iterator[Start]:
    """Start a maintenance process with a clock of its own. It finds no broker, which it can do without."""
    started: list[subprocess.Popen[bytes]] = []
    url = database.engine.url.render_as_string(hide_password=False)

    def start(module: str, wrong: WrongClock) -> None:
        env = {
            **os.environ,
            "VITRINE_DATABASE__URL": url,
            "VITRINE_DATA_DIR": str(tmp_path / "data"),
            "VITRINE_REDIS__URL": f"redis://127.0.0.1:{free_port()}/0",
            "VITRINE_SWEEP__INTERVAL_S": "0.2",
            **wrong.env,
        }
        with (tmp_path / "maintenance.log").open("ab") as log:
            argv = [sys.executable, "-m", module]
            started.append(subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=log))

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.wait(60)


def accept(database: Database, key: str) -> str:
    options = SearchOptions(catalogue="shop")
    return SearchRepository(database).accept("shop", options, SearchSource(query_key=key), ttl_s=600).id


def sweep_is_seen(database: Database) -> None:
    """Wait until a search whose lease is over was put back: by then all others were looked at too."""
    task = accept(database, "over")
    (claim,) = SearchQueue(database, "dead", LEASE_S, 9).claim(1)
    assert claim.id == task
    with database.write() as session:
        session.execute(update(Search).where(Search.id == task).values(lease_until=1.0))
    wait_for("it is put back", lambda: SearchRepository(database).status(task).state == "queued")
    SearchRepository(database).cancel(task)


def test_a_maintenance_process_ahead_or_set_while_it_runs_takes_nobody_s_work(
    database: Database, start: Start, tmp_path: Path
) -> None:
    wrong = WrongClock(tmp_path / "clock", 60)
    search, jobs = accept(database, "live"), JobRepository(database)
    (claim,) = SearchQueue(database, "one", LEASE_S, 4).claim(1)
    job = jobs.create_import("shop", {"archive": "upload"}).id
    chunk = JobQueue(database, "one", LEASE_S, 4, 2).claim()
    assert chunk is not None
    start("worker.maintenance", wrong)
    for ahead_s in (60, 3600, -3600):
        wrong.set(ahead_s)
        wait_for_skew(database, ahead_s)
        keep(database, search, chunk.id)
        sweep_is_seen(database)
        assert SearchRepository(database).status(search).state == "running"
        assert jobs.status(job).state == "running"
    assert JobQueue(database, "one", LEASE_S, 4, 2).renew(chunk)
    assert SearchQueue(database, "one", LEASE_S, 4).fail(claim, "internal", "the claim still holds") == 1


def test_control_by_its_host_s_clock_it_takes_what_others_work_on(
    database: Database, start: Start, tmp_path: Path
) -> None:
    search = accept(database, "live")
    SearchQueue(database, "one", LEASE_S, 4).claim(1)
    start("tests.faults.host_clock_maintenance", WrongClock(tmp_path / "clock", 60))
    wait_for("it is put back", lambda: SearchRepository(database).status(search).state == "queued")


def keep(database: Database, search: str, chunk: str) -> None:
    """Begin the leases again: how long the machine takes for this test is not what it is about."""
    with database.write() as session:
        until = now_s() + LEASE_S
        session.execute(update(Search).where(Search.id == search).values(lease_until=until))
        session.execute(update(Chunk).where(Chunk.id == chunk).values(lease_until=until))


def wait_for_skew(database: Database, ahead_s: float) -> None:
    """Wait until the process, seen alive by the right time, reports that its clock is wrong by so much."""

    def reported() -> bool:
        seen = [p for p in Presence(database).list_alive() if p.role == "maintenance"]
        return any(abs(float(p.details["clock_skew_s"]) - ahead_s) < 5 for p in seen)

    wait_for(f"it runs by a clock {ahead_s:+} s ahead", reported)
