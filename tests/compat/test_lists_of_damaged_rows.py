"""One row that cannot be read is left out of its list and logged; the others are shown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from shared.broker.task_names import Lane
from shared.catalogue.golden import GoldenRepository
from shared.catalogue.indexes import IndexRepository
from shared.catalogue.ranking import RankingRepository
from shared.catalogue.store import CatalogueStore
from shared.contracts.stored import look_up
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Calibration, Chunk, GoldenQuery, IndexVersionRow, Job
from shared.health.lanes import STALL_S, LaneMonitor
from shared.jobs.repository import JobRepository
from tests.compat.rows import products, rewrite

__all__ = ["products"]

#: The lists are made in Python; SQL is not what is tested.
_ONE_DATABASE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def index_version(number: int) -> IndexVersionRow:
    return IndexVersionRow(
        id=number,
        catalogue_id=1,
        number=number,
        collection=f"shop_{number}",
        alias="shop",
        detector="d",
        embedder="e",
        dim=256,
        state="live" if number == 1 else "ready",
        created_at=now_s(),
    )


@pytest.fixture
def filled(database: Database) -> Database:
    CatalogueStore(database).create("shop")
    with database.write() as session:
        for number in (1, 2):
            session.add(index_version(number))
        session.flush()
        for number in (1, 2):
            session.add(Calibration(index_version=number, curves={"a": 1}, report={}, created_at=now_s()))
            session.add(
                GoldenQuery(
                    id=f"g{number}",
                    catalogue_id=1,
                    product_id="p",
                    sha256="a" * 64,
                    source="upload",
                    created_at=now_s(),
                )
            )
    return database


def golden(database: Database) -> list[Any]:
    return [each.id for each in GoldenRepository(database).list_page("shop", None, 10)]


def versions(database: Database) -> list[Any]:
    found = IndexRepository(database).list_versions("shop")
    return sorted(f"g{each.number}" for each in found)


DAMAGE: dict[str, tuple[Callable[[Database], list[Any]], Any, Any, dict[str, Any]]] = {
    "a box that is a text": (golden, GoldenQuery, "g1", {"box": "left"}),
    "a source that is not known": (golden, GoldenQuery, "g1", {"source": "dreamt"}),
    "a state that is not known": (versions, IndexVersionRow, 1, {"state": "asleep"}),
}


@_ONE_DATABASE
@pytest.mark.parametrize(("read", "table", "row_id", "change"), DAMAGE.values(), ids=DAMAGE)
def test_the_others_are_listed(
    filled: Database,
    caplog: pytest.LogCaptureFixture,
    read: Callable[[Database], list[Any]],
    table: Any,
    row_id: Any,
    change: dict[str, Any],
) -> None:
    assert read(filled) == ["g1", "g2"], "control: both are sound"
    rewrite(filled, table, row_id, **change)
    with caplog.at_level(logging.WARNING):
        assert read(filled) == ["g2"]
    assert [getattr(record, "id", None) for record in caplog.records] == [row_id]


@_ONE_DATABASE
def test_a_damaged_report_of_a_calibration_counts_as_an_empty_one(filled: Database) -> None:
    with filled.write() as session:
        session.get_one(Calibration, 1).report = [1, 2]  # type: ignore[assignment]
    found = RankingRepository(filled).calibrations("shop")
    assert [(each.index, each.report) for each in found] == [(2, {}), (1, {})]


@pytest.mark.parametrize("report", [None, 7, {"same": 3}, {"same": {"object": []}}])
def test_a_value_in_a_damaged_report_is_none(report: Any) -> None:
    assert look_up(report, "same", "object", "ece") is None
    assert look_up({"same": {"object": {"ece": 0.1}}}, "same", "object", "ece") == 0.1


@_ONE_DATABASE
@pytest.mark.parametrize("pace", [{"a": 1}, [[]], [["x", 1]], "text", [1]])
def test_a_damaged_pace_leaves_the_lane_readable(database: Database, products: list[str], pace: Any) -> None:
    job = JobRepository(database).create_delete("shop", products[:1]).id
    long_ago = now_s() - 2 * STALL_S
    rewrite(database, Job, job, created_at=long_ago, pace=pace)
    with database.write() as session:
        session.query(Chunk).update({Chunk.lease_until: 0.0})
    assert not LaneMonitor(database, 30.0).read(Lane.CATALOGUE).healthy
