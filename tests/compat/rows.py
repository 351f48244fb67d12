"""Rows that another version wrote, or that are damaged, and the workers that meet them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update

from shared.catalogue.store import CatalogueStore
from shared.contracts import SearchOptions, SearchResult, WholeImage
from shared.database import Database
from shared.database.clock import HostClock, now_s
from shared.database.tables import Product, Search
from shared.jobs.queue import JobQueue
from shared.searches.queue import Claim, SearchQueue
from shared.searches.repository import SearchRepository, SearchSource
from worker.jobs.lane import CatalogueLane
from worker.products.context import JobContext

TRIES = 4


@pytest.fixture
def ledger(database: Database) -> SearchRepository:
    CatalogueStore(database).create("shop")
    return SearchRepository(database)


class SteppedClock(HostClock):
    """Stands still but for a millisecond a reading, so that back-off ends only when a test says so."""

    def __init__(self) -> None:
        self._now_s = now_s()

    def now_s(self) -> float:
        self._now_s += 0.001
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


@pytest.fixture
def clock(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Replace the database's clock; return how to advance it."""
    stepped = SteppedClock()
    monkeypatch.setattr("shared.database.clock._followed", stepped)
    return stepped.advance


def accept(ledger: SearchRepository) -> str:
    options = SearchOptions(catalogue="shop", top_k=3)
    return ledger.accept("shop", options, SearchSource(query_key="a" * 64), ttl_s=600).id


def rewrite(database: Database, table: Any, row_id: str, **values: Any) -> None:
    with database.write() as session:
        session.execute(update(table).where(table.id == row_id).values(**values))


def answer_all(desk: SearchQueue) -> list[str]:
    """Claim and answer as the search lane does, until nothing waits."""
    done: list[str] = []
    while claims := desk.claim(2):
        done += [each.id for each in desk.answer([(claim, result(claim)) for claim in claims])]
    return done


def result(claim: Claim) -> SearchResult:
    return SearchResult(
        query_id=claim.id,
        catalogue="shop",
        objects=[],
        whole=WholeImage(hits=[]),
        timings_ms={"total": 1.0},
        models={},
    )


def attempts(database: Database, search_id: str) -> int:
    with database.read() as session:
        return session.scalars(select(Search.attempts).where(Search.id == search_id)).one()


@pytest.fixture
def lane(database: Database) -> Iterator[CatalogueLane]:
    """The lane itself; what it deletes is in no index, so that it needs none."""
    desk = JobQueue(database, "one", 60, TRIES, 8)
    with ThreadPoolExecutor(1) as decoders:
        names = ("store", "sources", "index", "pipelines", "limits", "pictures", "prefix", "gate")
        parts: dict[str, Any] = dict.fromkeys(names)
        made: Any = JobContext(database=database, desk=desk, decoders=decoders, micro_batch=4, **parts)
        yield CatalogueLane(made, 10)


def bare_product(catalogue_id: int, product_id: str) -> Product:
    """Return a product's row that says nothing."""
    return Product(
        catalogue_id=catalogue_id,
        product_id=product_id,
        titles={},
        category="",
        categories={},
        tags=[],
        attributes={},
        digest="",
        updated_at=0.0,
    )


@pytest.fixture
def products(database: Database) -> list[str]:
    CatalogueStore(database).create("shop")
    ids = [f"p{n}" for n in range(1, 5)]
    with database.write() as session:
        for product_id in ids:
            session.add(bare_product(1, product_id))
    return ids


def work(lane: CatalogueLane) -> None:
    while lane.work_one() is not None:
        pass
