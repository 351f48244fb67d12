"""A catalogue is deleted as a whole, however often what deletes it dies; nothing else begins on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.catalogue.golden import GoldenRepository
from shared.catalogue.indexes import IndexRepository
from shared.catalogue.store import CatalogueStore
from shared.contracts import ProductIn
from shared.contracts.indexes import GoldenIn, ReprocessRequest
from shared.contracts.states import JobKind
from shared.database import Database
from shared.database.catalogue_rows import _LOCKS
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Chunk, Feedback, IndexVersionRow, Job
from shared.errors import Conflict, UnknownCatalogue
from shared.jobs.create import require_idle
from shared.jobs.repository import JobRepository
from shared.searches.feedback import PHOTOS
from shared.settings import SearchSettings
from tests.memory_index import MemoryIndex
from tests.shop import Shop, photo
from worker.jobs import batched_delete as pieces
from worker.jobs.dropping import _referring_to

pytestmark = pytest.mark.slow

PRODUCTS = 7


class Killed(BaseException):
    """The process is gone, whatever it was at."""


class Deaths:
    """Kills the work of this thread before a chosen commit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits_left: int | None = None
        self._thread = threading.current_thread()
        real = Database.write

        @contextmanager
        def write(database: Database) -> Iterator[Session]:
            with real(database) as session:
                yield session
                self._count()

        monkeypatch.setattr(Database, "write", write)

    def _count(self) -> None:
        if self.commits_left is None or threading.current_thread() is not self._thread:
            return
        self.commits_left -= 1
        if self.commits_left < 0:
            self.commits_left = None
            raise Killed


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """On an index in memory; a test names a Milvus, by its fixture, where it is about that."""
    index, prefix = MemoryIndex(), "t"
    if which := getattr(request, "param", None):
        index, prefix = request.getfixturevalue(which), request.getfixturevalue("prefix")
    opened = Shop.in_small_steps(tmp_path, index, prefix, search=SearchSettings(max_attempts=20))
    opened.fill(PRODUCTS)
    yield opened
    opened.close()


def left_over(database: Database, job: str) -> dict[str, int]:
    """Rows that belong to the first catalogue or to jobs of it, by table; the job that deletes it apart."""
    with database.read() as session:
        own = select(Job.id).where(Job.catalogue_id == 1, Job.id != job)
        found = {
            table.__name__: session.scalar(select(func.count()).select_from(table).where(column == 1)) or 0
            for table, column in _referring_to(Catalogue)
            if table is not Job
        }
        for table, column in _referring_to(Job):
            counted = select(func.count()).select_from(table).where(column.in_(own))
            found[table.__name__] = session.scalar(counted) or 0
        found["Job"] = session.scalar(select(func.count()).select_from(own.subquery())) or 0
    return {name: count for name, count in found.items() if count}


def of_catalogue(shop: Shop) -> list[str]:
    return [name for name in shop.index.collections() if name.startswith(f"{shop.settings.milvus.prefix}_1_")]


@pytest.mark.parametrize("shop", [None, "milvus"], indirect=True)
def test_everything_of_it_goes_and_nothing_else(shop: Shop) -> None:
    shop.search(1)
    golden = GoldenRepository(shop.database)
    own, shared = (shop.store.put(photo(seed), "golden") for seed in (1, 2))
    for key in (own, shared):
        golden.add("shop", GoldenIn(product_id="p1"), key)
    shop.done(shop.indexes.reprocess("shop", ReprocessRequest(embedder="perceptual-hash")).id)
    shop.catalogue.create("other")
    shop.done(shop.jobs.create_put("other", "q", _product(), [shop.store.put(photo(90), "images")]).id)
    golden.add("other", GoldenIn(product_id="q"), shared)
    clicked = shop.store.put(photo(3), PHOTOS)
    with shop.database.write() as session:
        what = {"object_number": None, "kind": "click", "rank": 1, "score": 0.9, "box": None}
        session.add(
            Feedback(
                catalogue_id=1, search_id="s", product_id="p1", photo=clicked, created_at=now_s(), **what
            )
        )
    job = shop.jobs.create_drop("shop").id

    assert {"Product", "IndexVersionRow", "GoldenQuery", "Search", "Job", "JobItem"} <= set(
        left_over(shop.database, job)
    )
    assert [c.name for c in shop.catalogue.list_catalogues()] == ["other"]
    ended = shop.done(job)
    assert (ended.state, ended.catalogue, ended.total) == ("succeeded", "shop", PRODUCTS)
    assert ended.counts.deleted == PRODUCTS
    assert left_over(shop.database, job) == {}
    assert of_catalogue(shop) == []
    assert shop.index.resolve_alias(f"{shop.settings.milvus.prefix}_1") is None
    assert shop.rows_of(f"{shop.settings.milvus.prefix}_2") == 1
    assert shop.catalogue.product("other", "q").images
    assert [shop.store.exists(key, "golden") for key in (own, shared)] == [False, True]
    assert not shop.store.exists(clicked, PHOTOS)
    assert [j.id for j in shop.jobs.list_recent("shop")] == [job]


def test_the_name_is_free_at_once(shop: Shop) -> None:
    job = shop.jobs.create_drop("shop").id
    with pytest.raises(UnknownCatalogue):
        shop.catalogue.get("shop")
    with pytest.raises(UnknownCatalogue):
        shop.jobs.create_put("shop", "p1", _product(), None)
    shop.catalogue.create("shop")
    # Products that somebody waits for go before it, also into the new one.
    put = shop.jobs.create_put("shop", "p1", _product(), [shop.store.put(photo(1), "images")]).id
    assert shop.done(put).state == "succeeded"
    assert shop.jobs.status(job).state == "queued"
    assert shop.done(job).state == "succeeded"
    assert shop.found(1) == ["p1"]


def test_asked_again_it_is_the_same_job(shop: Shop) -> None:
    first = shop.jobs.create_drop("shop")
    again = shop.jobs.create_drop("shop")
    assert (again.id, again.created) == (first.id, False)
    with pytest.raises(Conflict, match="let it finish"):
        shop.jobs.cancel(first.id)
    shop.done(first.id)
    with pytest.raises(UnknownCatalogue):
        shop.jobs.create_drop("shop")


def test_it_waits_for_no_job_and_breaks_into_none(shop: Shop) -> None:
    busy = shop.jobs.create_import("shop", {"path": "nowhere"}).id
    shop.jobs.pause(busy)
    with pytest.raises(Conflict, match=busy):
        shop.jobs.create_drop("shop")
    assert shop.catalogue.get("shop").products == PRODUCTS
    shop.jobs.cancel(busy)
    assert shop.done(shop.jobs.create_drop("shop").id).state == "succeeded"


def test_a_job_of_before_is_not_tried_again(shop: Shop) -> None:
    old = shop.jobs.create_import("shop", {"path": "nowhere"}).id
    shop.jobs.cancel(old)
    shop.jobs.create_drop("shop")
    with pytest.raises(UnknownCatalogue, match="was deleted"):
        shop.jobs.retry(old, None, 4)


def test_killed_before_each_commit_it_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 3)
    deaths = Deaths(monkeypatch)
    job = shop.jobs.create_drop("shop").id
    kills = unfinished = 0
    while True:
        # Each life has one commit more than the one before.
        deaths.commits_left = kills + 1
        try:
            shop.work()
            break
        except Killed:
            kills += 1
            # The control: nearly every death left something to go on with, which the next life does.
            unfinished += bool(left_over(shop.database, job))
            shop.worker.close()
            shop.worker = shop.new_worker()
            shop.index = shop.worker.index
    deaths.commits_left = None
    assert unfinished >= 6
    ended = shop.jobs.status(job)
    assert (ended.state, ended.total, ended.counts.deleted) == ("succeeded", PRODUCTS, PRODUCTS)
    assert left_over(shop.database, job) == {}
    assert of_catalogue(shop) == []


def test_what_could_not_be_done_is_tried_again(shop: Shop) -> None:
    job = shop.jobs.create_drop("shop").id
    shop.work(1)  # the plan
    with shop.database.write() as session:
        session.scalars(select(Chunk).where(Chunk.job_id == job, Chunk.stage == "finish")).one().attempts = 19
    claim = shop.worker.catalogue.context.desk.claim()
    assert claim is not None
    shop.worker.catalogue.context.desk.postpone(claim, 0.0, "Milvus broke", count_attempt=True)
    assert shop.jobs.status(job).state == "failed"
    again = shop.jobs.retry(job, None, 4).id
    assert shop.done(again).state == "succeeded"
    assert left_over(shop.database, again) == {}


def test_of_a_deletion_and_a_job_at_once_only_one_begins(database: Database) -> None:
    """Without the lock both saw a catalogue that nobody works on (the control is in the next test)."""
    catalogue, jobs = CatalogueStore(database), JobRepository(database)
    for number in range(8):
        name = f"c{number}"
        catalogue.create(name)
        created, dropped = at_once(
            partial(jobs.create, JobKind.RECONCILE, name), partial(jobs.create_drop, name)
        )
        assert sorted([created is None, dropped is None]) == [False, True], (created, dropped)


def test_of_two_reprocessings_at_once_one_begins(database: Database) -> None:
    catalogue, indexes = CatalogueStore(database), IndexRepository(database)
    wanted = ReprocessRequest()
    for number in range(8):
        name = f"c{number}"
        catalogue.create(name)
        outcomes = at_once(*[partial(indexes.reprocess, name, wanted)] * 3)
        assert len([each for each in outcomes if each is not None]) == 1
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 8
        assert session.scalar(select(func.count()).select_from(IndexVersionRow)) == 0


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_lock_is_what_makes_it_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: both look before either writes, and without the lock both are let in.

    SQLite lets one writer in at a time, whatever is asked for.
    """
    both_looked = threading.Barrier(2)

    def looks(*arguments: object) -> None:
        require_idle(*arguments)  # type: ignore[arg-type]
        try:
            both_looked.wait(3)
        except threading.BrokenBarrierError:
            return

    monkeypatch.setattr("shared.jobs.repository.require_idle", looks)
    CatalogueStore(database).create("locked")
    indexes = IndexRepository(database)
    outcomes = at_once(*[lambda: indexes.reprocess("locked", ReprocessRequest())] * 2)
    assert len([each for each in outcomes if each is not None]) == 1
    both_looked.reset()
    monkeypatch.setitem(_LOCKS, "no_key_update", _LOCKS["key_share"])
    CatalogueStore(database).create("open")
    outcomes = at_once(*[lambda: indexes.reprocess("open", ReprocessRequest())] * 2)
    assert len([each for each in outcomes if each is not None]) == 2


def at_once(*calls: Callable[[], object]) -> list[object | None]:
    """What each call returned, made by threads that begin together; None for one that was refused."""
    begin = threading.Barrier(len(calls))
    found: list[object | None] = [None] * len(calls)

    def run(number: int) -> None:
        begin.wait()
        try:
            found[number] = calls[number]()
        except (Conflict, UnknownCatalogue):
            return

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _product() -> ProductIn:
    return ProductIn()
