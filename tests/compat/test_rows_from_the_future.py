"""Rows of a newer version, and damaged ones, among rows of today: none stops a lane."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text, update

from shared.catalogue.product_list import ProductList
from shared.catalogue.store import CatalogueStore
from shared.contracts import ImportOptions, ProductIn, SearchOptions
from shared.contracts.search import Boost
from shared.contracts.stored import READS, needed_by, read_stored, stored
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Delivery, Job, Product, Ranking, Search, Timing
from shared.errors import UnreadableRow
from shared.jobs.repository import JobRepository
from shared.retention.expiry import expired_imports
from shared.searches.metrics import SearchMetricsRepository
from shared.searches.queue import SearchQueue
from shared.searches.repository import SearchRepository, SearchSource
from shared.webhooks.queue import WebhookQueue
from shared.webhooks.repository import WebhookRepository
from tests.compat.rows import TRIES, accept, answer_all, attempts, clock, ledger, products, rewrite
from worker.search.boosting import Boosting

__all__ = ["clock", "ledger", "products"]

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

#: The damage cannot be made in PostgreSQL, whose columns refuse such texts.
_ONLY_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.mark.parametrize("options", IGNORED.values(), ids=IGNORED)
def test_a_search_with_unknown_fields_is_answered(
    database: Database, ledger: SearchRepository, options: dict[str, Any]
) -> None:
    ids = [accept(ledger) for _ in range(3)]
    rewrite(database, Search, ids[0], options=options)
    assert answer_all(SearchQueue(database, "one", 30, TRIES)) == ids


@pytest.mark.parametrize("options", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_search_fails_alone_after_its_attempts(
    database: Database, ledger: SearchRepository, options: Any, clock: Callable[[float], None]
) -> None:
    ids = [accept(ledger) for _ in range(5)]
    bad, others = ids[0], ids[1:]
    rewrite(database, Search, bad, options=options)
    desk = SearchQueue(database, "one", 30, TRIES)
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


@_ONLY_SQLITE
def test_a_text_that_is_no_json_fails_alone(
    database: Database, ledger: SearchRepository, clock: Callable[[float], None]
) -> None:
    ids = [accept(ledger) for _ in range(3)]
    with database.write() as session:
        session.execute(text("UPDATE searches SET options = '{\"top_k\": ' WHERE id = :id"), {"id": ids[0]})
    desk = SearchQueue(database, "one", 30, TRIES)
    for _ in range(TRIES + 1):
        answer_all(desk)
        clock(10)
    assert [ledger.status(each).state for each in ids] == ["failed", "succeeded", "succeeded"]


@_ONLY_SQLITE
@pytest.mark.parametrize("column", ["options", "query_key", "more_photos", "product_id", "objects"])
def test_a_text_that_is_no_utf8_fails_alone(
    database: Database, ledger: SearchRepository, clock: Callable[[float], None], column: str
) -> None:
    """The driver refused the whole result for it, and with it every claim."""
    ids = [accept(ledger) for _ in range(3)]
    with database.write() as session:
        damage = f"UPDATE searches SET {column} = CAST(X'FF22' AS TEXT) WHERE id = :id"
        session.execute(text(damage), {"id": ids[0]})
    desk = SearchQueue(database, "one", 30, TRIES)
    for _ in range(TRIES + 1):
        answer_all(desk)
        clock(10)
    assert [ledger.status(each).state for each in ids[1:]] == ["succeeded", "succeeded"]
    # A photo's key or kept objects that cannot be read are the photo's trouble; options cannot be guessed.
    assert ledger.status(ids[0]).state == ("failed" if column in ("options", "more_photos") else "succeeded")


def test_damaged_photo_keys_fail_alone(
    database: Database, ledger: SearchRepository, clock: Callable[[float], None]
) -> None:
    ids = [accept(ledger) for _ in range(3)]
    rewrite(database, Search, ids[0], more_photos={"a": 1})
    desk = SearchQueue(database, "one", 30, TRIES)
    assert answer_all(desk) == ids[1:]


@pytest.mark.parametrize("needs", [READS + 1, 99, "someday"])
def test_a_search_that_needs_a_newer_worker_waits_for_it(
    database: Database,
    ledger: SearchRepository,
    needs: Any,
    monkeypatch: pytest.MonkeyPatch,
    clock: Callable[[float], None],
) -> None:
    ids = [accept(ledger) for _ in range(6)]
    newer, answered = ids[:3], list[str]()
    for each in newer:
        rewrite(database, Search, each, options={"needs": needs, "rerank": {"by": "price"}})
    desk = SearchQueue(database, "old", 30, TRIES)
    for _ in range(TRIES + 1):
        answered += answer_all(desk)
        clock(60)
        assert [desk.claim(10, own=each) for each in newer] == [[], [], []]
    assert answered == ids[3:]
    assert [attempts(database, each) for each in newer] == [0, 0, 0]
    assert {ledger.status(each).state for each in newer} == {"queued"}
    assert ledger.count_waiting() == 3, "it is visible as waiting, and expires like any other"


def test_a_newer_version_says_what_it_needs(
    ledger: SearchRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a future version would: a field is listed, and rows that use it need that version."""
    database: Database = ledger._database
    monkeypatch.setattr(SearchOptions, "NEEDED_BY", {"repeat": 3})
    plain = ledger.accept("shop", SearchOptions(top_k=3), SearchSource(query_key="a" * 64), ttl_s=600).id
    new = ledger.accept("shop", SearchOptions(repeat=True), SearchSource(query_key="a" * 64), ttl_s=600).id
    with database.read() as session:
        found = session.execute(select(Search.id, Search.options))
        rows = {row.id: row.options for row in found}
    assert rows == {plain: {"top_k": 3}, new: {"repeat": True, "needs": 3}}
    assert answer_all(SearchQueue(database, "old", 30, TRIES)) == [plain]


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


# What the maintenance process and the pages read.


def test_a_damaged_event_does_not_hold_up_the_others(
    database: Database, ledger: SearchRepository, clock: Callable[[float], None]
) -> None:
    webhooks, desk = WebhookRepository(database), WebhookQueue(database, 60)
    hooks = [webhooks.add(f"https://{name}.example/", [], None).id for name in ("a", "b", "c")]
    events = [webhooks.test(hook).id for hook in hooks]
    rewrite(database, Delivery, events[0], payload=["no event"])
    rewrite(database, Delivery, events[1], payload={"catalogue": None, "data": {}, "trace": "new"})
    assert {due.id for due in desk.take(10)} == set(events[1:])
    for due in desk.take(10):
        desk.mark_delivered(due, 200)
    for _ in range(TRIES):
        clock(20_000)
        desk.take(10)
    (shown,) = webhooks.deliveries(hooks[0])
    assert (shown.state, shown.attempts) == ("dead", TRIES)
    assert "cannot be read" in (shown.error or "")


def test_events_that_this_version_does_not_know_are_listed(
    database: Database, ledger: SearchRepository
) -> None:
    webhooks = WebhookRepository(database)
    made = webhooks.add("https://a.example/", ["job.succeeded", "price.changed"], None)
    assert webhooks.list_webhooks()[0].events == made.events == ["job.succeeded", "price.changed"]


def test_damaged_timings_do_not_end_the_count(database: Database, ledger: SearchRepository) -> None:
    stages = [{"total": 5.0}, "text", [1], {"a stage with a very long name": 1.0}, {"total": "x"}, {}]
    with database.write() as session:
        session.add_all(Timing(finished_at=now_s(), stages=each) for each in stages)
    signals = SearchMetricsRepository(database)
    assert signals.count() == len(stages)
    assert sum(signals.histograms()["total"].counts) == 1
    assert signals.read_metrics().stages_ms["total"].count == 1


def test_uploads_that_rows_of_another_version_name_are_kept(
    database: Database, ledger: SearchRepository
) -> None:
    job = JobRepository(database).create_import("shop", {"archive": "old.zip"}, None, {}).id
    rewrite(database, Job, job, source={"archives": ["new-1.zip", {"name": "new-2.zip"}]})
    names = ["new-1.zip", "new-2.zip", "nobody.zip"]
    assert list(expired_imports(database, names, 0)) == ["nobody.zip"]


def test_boosts_that_cannot_be_read_are_left_out(database: Database, ledger: SearchRepository) -> None:
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
    assert listed.read_titles("shop", products)["p1"] == ("p1", None)


@_ONLY_SQLITE
def test_titles_that_are_no_json_end_no_list(database: Database, products: list[str]) -> None:
    with database.write() as session:
        session.execute(text("UPDATE products SET titles = '{\"en\": ' WHERE product_id = 'p1'"))
        session.execute(update(Product).where(Product.product_id == "p2").values(titles={"en": "A lamp"}))
    assert [each.product_id for each in ProductList(database).page("shop", "lamp").products] == ["p2"]
    with pytest.raises(UnreadableRow, match="titles"):
        CatalogueStore(database).product("shop", "p1")


def test_a_fixture_of_json_is_what_the_database_gives(database: Database, ledger: SearchRepository) -> None:
    """The control: an untouched row is claimed with what was asked."""
    accept(ledger)
    (claim,) = SearchQueue(database, "one", 30, TRIES).claim(1)
    assert json.loads(claim.options.model_dump_json(exclude_defaults=True)) == {
        "catalogue": "shop",
        "top_k": 3,
    }
