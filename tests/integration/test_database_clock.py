"""Times that hosts compare are told by the database's clock, whatever a host's own clock says (M36)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text, update

from shared.catalogue.store import CatalogueStore
from shared.contracts import SearchOptions
from shared.database import Database, clock
from shared.database.clock import DatabaseClock, HostClock, follow, now_s, skew_s
from shared.database.tables import Search
from shared.health.presence import Presence
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.searches.queue import SearchQueue
from shared.searches.repository import SearchRepository, SearchSource
from tests.databases import new_postgres_database

HOUR_S = 3600.0
LEASE_S = 30.0


@pytest.fixture
def server(postgres: str) -> Iterator[Database]:
    """A database with a clock of its own."""
    opened = Database(new_postgres_database(postgres))
    yield opened
    opened.close()


@pytest.fixture
def host_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which this host's wall clock is wrong."""
    wrong_s, right = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: right() + wrong_s[0])
    return wrong_s


def test_the_offset_is_kept_within_what_each_answer_proves() -> None:
    told = DatabaseClock(lambda: None)
    told.measure(lambda: 5000.0 + time.monotonic())
    first = told.now_s() - time.monotonic()
    assert first == pytest.approx(5000.0, abs=0.01)

    def slow() -> float:
        read = 5000.0 + time.monotonic()
        time.sleep(0.2)
        return read

    told.measure(slow)
    assert told.now_s() - time.monotonic() == pytest.approx(first, abs=0.01)
    told.measure(lambda: 6000.0 + time.monotonic())  # the server's clock was set
    assert told.now_s() - time.monotonic() == pytest.approx(6000.0, abs=0.01)


def test_a_clock_that_was_never_measured_asks_first() -> None:
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        told.measure(lambda: 7000.0)

    told = DatabaseClock(ask)
    assert told.is_due()
    assert told.now_s() == pytest.approx(7000.0, abs=1.0)
    assert not told.is_due()
    told.now_s()
    assert asked == [1]


def test_the_process_tells_the_time_of_its_database(server: Database, host_clock: list[float]) -> None:
    right = time.time()
    host_clock[0] = 60.0
    assert now_s() == pytest.approx(right, abs=5.0)
    assert skew_s() == pytest.approx(60.0, abs=5.0)
    server.close()
    assert now_s() == pytest.approx(right + 60.0, abs=5.0)  # no database: the host's


def test_sqlite_has_no_clock_but_the_host_s(tmp_path: Path, host_clock: list[float]) -> None:
    opened = Database(f"sqlite:///{tmp_path}/one.sqlite3")
    host_clock[0] = 60.0
    assert now_s() == pytest.approx(time.time(), abs=5.0)
    assert skew_s() == 0.0
    opened.close()


def test_every_way_to_a_connection_measures(server: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    real = DatabaseClock.measure

    def count(self: DatabaseClock, read_server_s: object) -> None:
        measured.append(1)
        real(self, read_server_s)  # type: ignore[arg-type]

    monkeypatch.setattr(DatabaseClock, "measure", count)
    for way in (server.read, server.write, server.read_connection, server.write_connection):
        monkeypatch.setattr(clock, "MEASURE_INTERVAL_S", 0.0)
        before = len(measured)
        with way() as connection:
            connection.execute(text("SELECT 1"))
        assert len(measured) == before + 1, way
        monkeypatch.setattr(clock, "MEASURE_INTERVAL_S", 60.0)
        with way() as connection:
            connection.execute(text("SELECT 1"))
        assert len(measured) == before + 1, way


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
@pytest.mark.parametrize("by_host", [False, True], ids=["", "control: by the host's clock"])
def test_a_jump_of_the_host_s_clock_ends_no_lease(
    server: Database, host_clock: list[float], jump_s: float, by_host: bool
) -> None:
    CatalogueStore(server).create("shop")
    if by_host:
        follow(HostClock())
    searches, jobs = SearchRepository(server), JobRepository(server)
    task = searches.accept("shop", SearchOptions(catalogue="shop"), SearchSource(query_key="k"), ttl_s=600).id
    jobs.create_import("shop", {"archive": "upload"})
    worker, chunks = SearchQueue(server, "one", LEASE_S, 4), JobQueue(server, "one", LEASE_S, 4, 2)
    assert worker.claim(1)
    assert chunks.claim() is not None
    presence = Presence(server)
    presence.write_heartbeat("search@one", "search", {})
    host_clock[0] = jump_s  # of the process that looks
    lost = (
        SearchQueue(server, "maintenance", LEASE_S, 4).sweep() + JobQueue(server, "m", LEASE_S, 4, 2).sweep()
    )
    seen = presence.list_alive()
    ahead = by_host and jump_s > 0
    assert lost == (2 if ahead else 0)
    assert len(seen) == (0 if ahead else 1)
    # What was lost is found though the clock went back: a lease that is over is put back.
    if not ahead:
        with server.write() as session:
            session.execute(
                update(Search).where(Search.id == task).values(lease_until=Search.lease_until - 60)
            )
        assert SearchQueue(server, "m", LEASE_S, 4).sweep() == (0 if by_host else 1)


def test_presence_shows_how_wrong_its_host_s_clock_is(server: Database, host_clock: list[float]) -> None:
    host_clock[0] = -60.0
    Presence(server).write_heartbeat("search@one", "search", {"runtime": "openvino"})
    (seen,) = Presence(server).list_alive()
    assert seen.details["runtime"] == "openvino"
    assert seen.details["clock_skew_s"] == pytest.approx(-60.0, abs=2.0)
