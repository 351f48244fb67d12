"""Status counts what waits exactly, and counts the products of a catalogue only when it changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, text, update

from shared.catalogue.store import CatalogueStore
from shared.contracts import ProductIn, SearchOptions
from shared.contracts.states import JobKind
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Job, Product
from shared.health import queue_counts
from shared.health.queue_counts import waiting_by_lane
from shared.jobs.create import add_job
from shared.jobs.repository import JobRepository
from shared.jobs.states import BACKGROUND
from shared.searches.repository import SearchRepository, SearchSource
from tests.integration.test_job_turns import fill, plan_of
from tests.job_builders import claim_of, desk
from tests.web_builders import open_shop

pytestmark = pytest.mark.slow

MANY = 70


@pytest.fixture
def jobs(database: Database) -> JobRepository:
    CatalogueStore(database).create("shop")
    return JobRepository(database)


def test_what_waits_is_counted_exactly_by_lane(database: Database, jobs: JobRepository) -> None:
    assert waiting_by_lane(database) == {
        "search": {"waiting": 0, "oldest_s": None},
        "catalogue": {"waiting": 0, "chunks": 0, "jobs": 0, "oldest_s": None},
    }
    searches = SearchRepository(database)
    for n in range(MANY):
        searches.accept("shop", SearchOptions(catalogue="shop"), SearchSource(query_key=str(n)), ttl_s=600)
    made = [jobs.create_put("shop", f"p{n}", ProductIn(), []).id for n in range(MANY)]
    claim_of(desk(database))
    jobs.pause(made[1])
    jobs.cancel(made[2])
    with database.write() as session:
        session.execute(update(Job).where(Job.id == made[3]).values(created_at=now_s() - 600))
        # What the system began and what is paused may wait as long as they do.
        system = add_job(session, find_catalogue(session, "shop"), JobKind.CALIBRATE, priority=BACKGROUND)
        session.execute(update(Job).where(Job.id.in_([system, made[1]])).values(created_at=now_s() - 6000))
    waiting = waiting_by_lane(database)
    assert waiting["search"]["waiting"] == MANY
    assert 0 <= waiting["search"]["oldest_s"] < 300
    counted = waiting["catalogue"]
    # One runs, one is paused, one cancelled; the calibration has no products.
    assert (counted["waiting"], counted["chunks"], counted["jobs"]) == (MANY - 2, MANY - 2, MANY - 1)
    assert 600 <= counted["oldest_s"] < 900


def test_status_and_the_lists_of_open_jobs_do_not_lose_the_old_ones(tmp_path: object) -> None:
    shop = open_shop(tmp_path)  # type: ignore[arg-type]
    jobs = shop.parts.jobs
    first = jobs.create_import("demo", {"archive": "upload"}).id
    for n in range(MANY):
        jobs.cancel(jobs.create_put("demo", f"gone-{n}", ProductIn(), []).id)
    assert [job.id for job in jobs.list_unfinished()] == [first]
    assert [job.id for job in jobs.list_unfinished("demo")] == [first]
    assert jobs.list_unfinished("other") == []
    for n in range(MANY):
        jobs.create_put("demo", f"p{n}", ProductIn(), [])
    status = shop.client.get("/v1/status").get_json()
    assert status["queues"] == {"search": 0, "catalogue": MANY}
    assert status["waiting"]["catalogue"]["jobs"] == MANY + 1
    assert len(status["jobs"]) == 50


def test_counting_reads_open_jobs_alone(database: Database, jobs: JobRepository) -> None:
    fill(database, 1, 20_000, "succeeded")
    fill(database, 1, 100, "queued")
    with database.write() as session:
        session.execute(text("ANALYZE"))
    for statement in (queue_counts._JOBS, queue_counts._OLDEST_JOB, queue_counts._CHUNKS):
        plan = plan_of(database, statement)
        assert "ix_jobs_" in plan, plan
        assert "Seq Scan" not in plan, plan


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """Statements that count products."""
    seen: list[str] = []

    def note(*args: object) -> None:
        statement = str(args[2])
        if "count(" in statement and "products" in statement:
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def add_product(database: Database, product_id: str, change: bool = True) -> None:
    """Write a product as a job does: with a change of its catalogue."""
    with database.write() as session:
        place = find_catalogue(session, "shop")
        place.changes += change
        session.add(
            Product(
                catalogue_id=place.id, product_id=product_id, titles={}, category="", categories={}, tags=[],
                attributes={}, digest="", updated_at=now_s(),
            )
        )  # fmt: skip


def test_products_are_counted_when_the_catalogue_changed_and_not_before(
    database: Database, jobs: JobRepository
) -> None:
    store = CatalogueStore(database)
    for n in range(3):
        add_product(database, f"p{n}")
    assert store.get("shop").products == 3
    with counted(database.engine) as seen:
        assert [c.products for c in store.list_catalogues()] == [3]
        assert seen == []
        add_product(database, "another")
        assert [c.products for c in store.list_catalogues()] == [4]
        assert len(seen) == 2  # products and pictures
        assert store.get("shop").products == 4
        assert len(seen) == 2


def test_a_catalogue_that_always_changes_takes_a_small_share_of_the_time(
    database: Database, jobs: JobRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [1000.0]
    monkeypatch.setattr("shared.catalogue.counts.time.monotonic", lambda: passed[0])
    store = CatalogueStore(database)
    store.get("shop")
    (known,) = store._counts._known.values()
    store._counts._known[1] = known._replace(took_s=3.0, products=30_000_000)
    add_product(database, "p")
    passed[0] += 59.0
    assert store.get("shop").products == 30_000_000
    passed[0] += 2.0
    assert store.get("shop").products == 1
    with database.read() as session:
        assert session.get_one(Catalogue, 1).changes == 1
