"""Rows of a newer version, and damaged ones, among rows of today: none stops a lane."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from sqlalchemy import select, text, update

from shared.catalogue import CatalogueStore
from shared.contracts import ImportOptions, ProductIn, SearchOptions, SearchResult, WholeImage
from shared.contracts.search import Boost
from shared.contracts.stored import READS, needed_by, read_stored, stored
from shared.database import Database
from shared.database.clock import HostClock
from shared.database.tables import Delivery, Job, JobItem, Product, Ranking, Search, Timing
from shared.errors import UnreadableRow
from shared.ledger import now_s
from shared.ledger.housekeeping import expired_imports
from shared.ledger.job_desk import JobDesk
from shared.ledger.jobs import JobLedger
from shared.ledger.search_desk import Claim, SearchDesk
from shared.ledger.searches import SearchLedger
from shared.ledger.signals import SignalLedger
from shared.ledger.webhook_desk import WebhookDesk
from shared.ledger.webhooks import WebhookLedger
from shared.product_list import ProductList
from worker.catalogue_lane import CatalogueLane, job_kinds
from worker.search.boosting import Boosting
from worker.tools import Tools

TRIES = 4
#: Stored options and whether the row's search is answered all the same.
IGNORED: dict[str, dict[str, Any]] = {
    "an unknown field": {"catalogue": "shop", "rerank": "fine"},
    "an unknown field, deep": {"boosts": [{"filter": "price < 5", "factor": 1.5, "until": "2027-01-01"}]},
    "a version that is known": {"needs": READS},
}
UNREADABLE: dict[str, Any] = {
    "a list": [1, 2],
    "a text": "options",
    "a number": 7,
    "a wrong type": {"top_k": "many"},
    "a value out of range": {"top_k": 5000},
    "a broken box": {"box": [0.5, 0.5, 0.1, 0.1]},
    "half a boost": {"boosts": [{"filter": "price < 5"}]},
}


@pytest.fixture
def ledger(database: Database) -> SearchLedger:
    CatalogueStore(database).create("shop")
    return SearchLedger(database)


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


def accept(ledger: SearchLedger) -> str:
    options = SearchOptions(catalogue="shop", top_k=3)
    return ledger.accept("shop", options, query_key="a" * 64, ttl_s=600).id


def rewrite(database: Database, table: Any, row_id: str, **values: Any) -> None:
    with database.write() as session:
        session.execute(update(table).where(table.id == row_id).values(**values))


def answer_all(desk: SearchDesk) -> list[str]:
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


@pytest.mark.parametrize("options", IGNORED.values(), ids=IGNORED)
def test_a_search_with_unknown_fields_is_answered(
    database: Database, ledger: SearchLedger, options: dict[str, Any]
) -> None:
    ids = [accept(ledger) for _ in range(3)]
    rewrite(database, Search, ids[0], options=options)
    assert answer_all(SearchDesk(database, "one", 30, TRIES)) == ids


@pytest.mark.parametrize("options", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_search_fails_alone_after_its_attempts(
    database: Database, ledger: SearchLedger, options: Any, clock: Callable[[float], None]
) -> None:
    ids = [accept(ledger) for _ in range(5)]
    bad, others = ids[0], ids[1:]
    rewrite(database, Search, bad, options=options)
    desk = SearchDesk(database, "one", 30, TRIES)
    assert answer_all(desk) == others, "the first pass answers all others"
    assert attempts(database, bad) == 1
    assert ledger.status(bad).state == "queued"
    for _ in range(TRIES):
        clock(10)
        answer_all(desk)
    status = ledger.status(bad)
    assert status.state == "failed"
    assert status.error is not None
    assert status.error.code == "unreadable_row"
    assert attempts(database, bad) == TRIES


def test_a_text_that_is_no_json_fails_alone(
    database: Database, ledger: SearchLedger, clock: Callable[[float], None]
) -> None:
    if not database.is_sqlite:
        # A JSON column of PostgreSQL refuses the text: the damage cannot be made there.
        pytest.skip("PostgreSQL keeps no such text")
    ids = [accept(ledger) for _ in range(3)]
    with database.write() as session:
        session.execute(text("UPDATE searches SET options = '{\"top_k\": ' WHERE id = :id"), {"id": ids[0]})
    desk = SearchDesk(database, "one", 30, TRIES)
    for _ in range(TRIES + 1):
        answer_all(desk)
        clock(10)
    assert [ledger.status(each).state for each in ids] == ["failed", "succeeded", "succeeded"]


def test_damaged_photo_keys_fail_alone(
    database: Database, ledger: SearchLedger, clock: Callable[[float], None]
) -> None:
    ids = [accept(ledger) for _ in range(3)]
    rewrite(database, Search, ids[0], more_photos={"a": 1})
    desk = SearchDesk(database, "one", 30, TRIES)
    assert answer_all(desk) == ids[1:]


@pytest.mark.parametrize("needs", [READS + 1, 99, "someday"])
def test_a_search_that_needs_a_newer_worker_waits_for_it(
    database: Database,
    ledger: SearchLedger,
    needs: Any,
    monkeypatch: pytest.MonkeyPatch,
    clock: Callable[[float], None],
) -> None:
    ids = [accept(ledger) for _ in range(6)]
    newer, answered = ids[:3], list[str]()
    for each in newer:
        rewrite(database, Search, each, options={"needs": needs, "rerank": {"by": "price"}})
    desk = SearchDesk(database, "old", 30, TRIES)
    for _ in range(TRIES + 1):
        answered += answer_all(desk)
        clock(60)
        assert [desk.claim(10, own=each) for each in newer] == [[], [], []]
    assert answered == ids[3:]
    assert [attempts(database, each) for each in newer] == [0, 0, 0]
    assert {ledger.status(each).state for each in newer} == {"queued"}
    assert ledger.waiting() == 3, "it is visible as waiting, and expires like any other"


def test_a_newer_version_says_what_it_needs(ledger: SearchLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a future version would: a field is listed, and rows that use it need that version."""
    database: Database = ledger._database
    monkeypatch.setattr(SearchOptions, "NEEDED_BY", {"repeat": 2})
    plain = ledger.accept("shop", SearchOptions(top_k=3), query_key="a" * 64, ttl_s=600).id
    new = ledger.accept("shop", SearchOptions(repeat=True), query_key="a" * 64, ttl_s=600).id
    with database.read() as session:
        rows = dict(session.execute(select(Search.id, Search.options)).all())
    assert rows == {plain: {"top_k": 3}, new: {"repeat": True, "needs": 2}}
    assert answer_all(SearchDesk(database, "old", 30, TRIES)) == [plain]


def test_job_options_and_products_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stored(ImportOptions(repair=True)) == ImportOptions(repair=True).model_dump(mode="json")
    monkeypatch.setattr(ImportOptions, "NEEDED_BY", {"repair": 3})
    assert stored(ImportOptions())["repair"] is False
    assert "needs" not in stored(ImportOptions())
    assert stored(ImportOptions(repair=True))["needs"] == 3
    monkeypatch.setattr(ProductIn, "NEEDED_BY", {"tags": 2})
    assert needed_by(ProductIn, {"tags": [], "price": 1}) == 2
    assert needed_by(ProductIn, {"price": 1}) == 1


def test_requests_stay_strict() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        SearchOptions.model_validate({"rerank": "fine"})
    assert read_stored(SearchOptions, {"rerank": "fine"}, "it") == SearchOptions()
    with pytest.raises(UnreadableRow, match="top_k"):
        read_stored(SearchOptions, {"top_k": 0}, "it")


# The catalogue lane.


@pytest.fixture
def lane(database: Database) -> Iterator[CatalogueLane]:
    """The lane itself; what it deletes is in no index, so that it needs none."""
    desk = JobDesk(database, "one", 60, TRIES, 8)
    with ThreadPoolExecutor(1) as decoders:
        names = ("store", "sources", "index", "pipelines", "limits", "pictures", "prefix", "gate")
        parts = dict.fromkeys(names)
        made: Any = Tools(
            database=database, desk=desk, decoders=decoders, micro_batch=4, **cast("dict[str, Any]", parts)
        )
        yield CatalogueLane(made, 10)


@pytest.fixture
def products(database: Database) -> list[str]:
    CatalogueStore(database).create("shop")
    ids = [f"p{n}" for n in range(1, 5)]
    with database.write() as session:
        for product_id in ids:
            session.add(
                Product(
                    catalogue_id=1,
                    product_id=product_id,
                    titles={},
                    category="",
                    categories={},
                    tags=[],
                    attributes={},
                    digest="",
                    updated_at=0.0,
                )
            )
    return ids


def work(lane: CatalogueLane) -> None:
    while lane.work_one() is not None:
        pass


FUTURE_JOBS: dict[str, dict[str, Any]] = {
    "options that need a newer worker": {"options": {"needs": READS + 1}},
    "a kind of job that is not known": {"kind": "retag"},
}
SPOILED_JOBS: dict[str, dict[str, Any]] = {
    "an option of a wrong type": {"kind": "reconcile", "options": {"repair": "perhaps"}},
    "an option of no known value": {"kind": "reprocess", "options": {"scope": "some"}},
    "an import's option out of range": {"kind": "import", "options": {"max_delete_share": 7}},
    "options that are a list": {"options": [1]},
    "options that are a text": {"options": "all"},
    "a source that is a number": {"source": 5},
    "a pace that is none": {"pace": {"a": "b"}, "options": [1]},
    "a report that is none": {"report": "text", "options": [1]},
}


@pytest.mark.parametrize("change", FUTURE_JOBS.values(), ids=FUTURE_JOBS)
def test_a_job_of_a_newer_version_waits_and_blocks_nobody(
    database: Database, products: list[str], lane: CatalogueLane, change: dict[str, Any]
) -> None:
    ledger = JobLedger(database)
    newer, normal = (ledger.create_delete("shop", [p]).id for p in products[:2])
    rewrite(database, Job, newer, **change)
    work(lane)
    assert ledger.status(normal).state == "succeeded"
    assert ledger.status(newer).state == "queued"
    assert {job.id for job in ledger.recent()} == {newer, normal}
    assert ledger.cancel(newer).state == "cancelled", "who waits in vain can end it"


@pytest.mark.parametrize("change", SPOILED_JOBS.values(), ids=SPOILED_JOBS)
def test_a_damaged_job_fails_alone_after_its_attempts(
    database: Database,
    products: list[str],
    lane: CatalogueLane,
    change: dict[str, Any],
    clock: Callable[[float], None],
) -> None:
    ledger = JobLedger(database)
    bad, normal = (ledger.create_delete("shop", [p]).id for p in products[:2])
    rewrite(database, Job, bad, **change)
    work(lane)
    assert ledger.status(normal).state == "succeeded"
    assert ledger.status(bad).state in ("queued", "running")
    for _ in range(TRIES):
        clock(300)
        work(lane)
    status = ledger.status(bad)
    assert status.state == "failed"
    assert status.error is not None
    assert status.error.code == "unreadable_row"


def test_a_damaged_item_fails_alone(database: Database, products: list[str], lane: CatalogueLane) -> None:
    ledger = JobLedger(database)
    job = ledger.create_delete("shop", products).id
    with database.write() as session:
        session.execute(update(JobItem).where(JobItem.product_id == "p2").values(payload=[1]))
    work(lane)
    status = ledger.status(job)
    assert (status.state, status.counts.deleted, status.counts.failed) == ("succeeded", 3, 1)
    assert [(f.product_id, f.reason) for f in ledger.failures(job).failures] == [("p2", "unreadable_row")]


def test_items_of_a_newer_version_are_left_to_a_newer_worker(
    database: Database, products: list[str], lane: CatalogueLane, clock: Callable[[float], None]
) -> None:
    ledger = JobLedger(database)
    job = ledger.create_delete("shop", products).id
    with database.write() as session:
        session.execute(update(JobItem).where(JobItem.number == 2).values(payload={"needs": READS + 1}))
    for _ in range(TRIES + 2):
        work(lane)
        clock(60)
    assert ledger.status(job).state == "running"
    assert ledger.status(job).done == 0
    with database.write() as session:
        session.execute(update(JobItem).where(JobItem.number == 2).values(payload={"needs": READS}))
    work(lane)
    assert ledger.status(job).state == "succeeded"


def test_the_kinds_that_are_claimed_are_those_that_can_be_done(lane: CatalogueLane) -> None:
    from shared.ledger.job_states import KINDS

    assert set(KINDS) == set(job_kinds(lane.tools))


# What the maintenance process and the pages read.


def test_a_damaged_event_does_not_hold_up_the_others(
    database: Database, ledger: SearchLedger, clock: Callable[[float], None]
) -> None:
    webhooks, desk = WebhookLedger(database), WebhookDesk(database, 60)
    hooks = [webhooks.add(f"https://{name}.example/", [], None).id for name in ("a", "b", "c")]
    events = [webhooks.test(hook).id for hook in hooks]
    rewrite(database, Delivery, events[0], payload=["no event"])
    rewrite(database, Delivery, events[1], payload={"catalogue": None, "data": {}, "trace": "new"})
    assert {due.id for due in desk.take(10)} == set(events[1:])
    for due in desk.take(10):
        desk.delivered(due, 200)
    for _ in range(TRIES):
        clock(20_000)
        desk.take(10)
    (shown,) = webhooks.deliveries(hooks[0])
    assert (shown.state, shown.attempts) == ("dead", TRIES)
    assert "cannot be read" in (shown.error or "")


def test_events_that_this_version_does_not_know_are_listed(database: Database, ledger: SearchLedger) -> None:
    webhooks = WebhookLedger(database)
    made = webhooks.add("https://a.example/", ["job.succeeded", "price.changed"], None)
    assert webhooks.all()[0].events == made.events == ["job.succeeded", "price.changed"]


def test_damaged_timings_do_not_end_the_count(database: Database, ledger: SearchLedger) -> None:
    stages = [{"total": 5.0}, "text", [1], {"a stage with a very long name": 1.0}, {"total": "x"}, {}]
    with database.write() as session:
        session.add_all(Timing(finished_at=now_s(), stages=each) for each in stages)
    signals = SignalLedger(database)
    assert signals.count() == len(stages)
    assert sum(signals.histograms()["total"].counts) == 1
    assert signals.signals().stages_ms["total"].count == 1


def test_uploads_that_rows_of_another_version_name_are_kept(database: Database, ledger: SearchLedger) -> None:
    job = JobLedger(database).create_import("shop", {"archive": "old.zip"}, None, {}).id
    rewrite(database, Job, job, source={"archives": ["new-1.zip", {"name": "new-2.zip"}]})
    names = ["new-1.zip", "new-2.zip", "nobody.zip"]
    assert list(expired_imports(database, names, 0)) == ["nobody.zip"]


def test_boosts_that_cannot_be_read_are_left_out(database: Database, ledger: SearchLedger) -> None:
    kept = [{"filter": "price < 5", "factor": 1.5, "until": "new"}, {"factor": 2.0}, 7, {"filter": "(("}]
    with database.write() as session:
        session.add(Ranking(catalogue_id=1, boosts=kept))
    assert Boosting.stored(kept).boosts == (Boost(filter="price < 5", factor=1.5),)
    assert Boosting.stored("text").boosts == ()
    assert Boosting.stored(None).boosts == ()


DAMAGED_PRODUCTS: dict[str, dict[str, Any]] = {
    "titles that are a list": {"titles": ["p1"]},
    "titles that are a number": {"titles": 5},
    "a title that is a number": {"titles": {"en": 5}},
    "tags that are an object": {"tags": {"a": 1}},
    "attributes that are a text": {"attributes": "oak"},
    "categories that are a list": {"categories": [1]},
}


@pytest.mark.parametrize("change", DAMAGED_PRODUCTS.values(), ids=DAMAGED_PRODUCTS)
def test_a_damaged_product_is_named_and_stays_in_its_list(
    database: Database, products: list[str], change: dict[str, Any]
) -> None:
    with database.write() as session:
        session.execute(update(Product).where(Product.product_id == "p2").values(titles={"en": "A lamp"}))
        session.execute(update(Product).where(Product.product_id == "p1").values(**change))
    with pytest.raises(
        UnreadableRow, match=rf"The product 'p1' cannot be read \({next(iter(change))}.*damaged"
    ):
        CatalogueStore(database).product("shop", "p1")
    assert CatalogueStore(database).product("shop", "p2").titles == {"en": "A lamp"}
    listed = ProductList(database)
    assert [each.product_id for each in listed.page("shop").products] == products
    assert [each.product_id for each in listed.page("shop", "lamp").products] == ["p2"]
    assert listed.named("shop", products)["p1"] == ("p1", None)


def test_titles_that_are_no_json_end_no_list(database: Database, products: list[str]) -> None:
    if not database.is_sqlite:
        # A JSON column of PostgreSQL refuses the text: the damage cannot be made there.
        pytest.skip("PostgreSQL keeps no such text")
    with database.write() as session:
        session.execute(text("UPDATE products SET titles = '{\"en\": ' WHERE product_id = 'p1'"))
        session.execute(update(Product).where(Product.product_id == "p2").values(titles={"en": "A lamp"}))
    assert [each.product_id for each in ProductList(database).page("shop", "lamp").products] == ["p2"]
    with pytest.raises(UnreadableRow, match="titles"):
        CatalogueStore(database).product("shop", "p1")


def test_a_fixture_of_json_is_what_the_database_gives(database: Database, ledger: SearchLedger) -> None:
    """The control: an untouched row is claimed with what was asked."""
    accept(ledger)
    (claim,) = SearchDesk(database, "one", 30, TRIES).claim(1)
    assert json.loads(claim.options.model_dump_json(exclude_defaults=True)) == {
        "catalogue": "shop",
        "top_k": 3,
    }
