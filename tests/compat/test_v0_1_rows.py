"""Rows and messages that version 0.1 wrote, with every option used, are read by today's code."""

from __future__ import annotations

import inspect
import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from shared.broker.task_names import LANE_OF, TaskName
from shared.catalogue.golden import GoldenRepository
from shared.catalogue.indexes import IndexRepository
from shared.catalogue.ranking import RankingRepository
from shared.contracts.feedback import FeedbackIn
from shared.contracts.search import Boost
from shared.contracts.states import JobKind
from shared.database import Database
from shared.database.migrate import migrate
from shared.database.tables import Catalogue, Search
from shared.filters import parse
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.jobs.work import ChunkClaim
from shared.searches.feedback import FeedbackRepository
from shared.searches.metrics import SearchMetricsRepository
from shared.searches.queue import Claim, SearchQueue
from shared.searches.repository import SearchRepository
from shared.webhooks.queue import WebhookQueue
from shared.webhooks.repository import WebhookRepository
from worker.jobs.imports import _options
from worker.products.manifest_source import _merged_product
from worker.search.boosting import Boosting
from worker.search.embedding_reuse import reuse, validate_stored
from worker.search.locating import combine_filters

HERE = Path(__file__).parent


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Database]:
    """A database of version 0.1, brought to today's schema."""
    file = tmp_path / "vitrine.sqlite3"
    connection = sqlite3.connect(file)
    connection.executescript((HERE / "v0_1.sql").read_text(encoding="utf-8"))
    connection.close()
    database = Database(f"sqlite:///{file}")
    migrate(database)
    yield database
    database.close()


def searches_by_state(database: Database, state: str) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Search.id).where(Search.state == state)))


def claims_of(database: Database) -> list[Claim]:
    return SearchQueue(database, "two", 30, 4).claim(100)


def test_every_waiting_search_is_claimed_with_its_options(old: Database) -> None:
    claims = claims_of(old)
    assert len(claims) == 6
    assert searches_by_state(old, "queued") == searches_by_state(old, "failed")[1:] == []
    full = next(c for c in claims if len(c.photos) == 3)
    options = full.options
    assert (options.top_k, options.box, options.detect) == (7, (0.1, 0.1, 0.9, 0.9), False)
    assert options.boosts == (
        Boost(filter="price < 100", factor=1.5),
        Boost(filter="category = 'Chairs'", factor=0.9),
    )
    assert (options.like, options.unlike, options.repeat) == (("p1",), ("p2",), True)
    assert (options.locale, options.currency, options.min_score) == ("de", "USD", 0.1)
    assert combine_filters(options) is not None
    assert {c.product_id for c in claims} == {None, "p1"}
    assert {c.options.after for c in claims} == {None, "cursor"}
    assert {c.options.min_probability for c in claims} == {None, 0.5}


def test_what_was_kept_of_a_photo_serves_again(old: Database) -> None:
    kept = next(c for c in claims_of(old) if c.options.box == (0.2, 0.2, 0.8, 0.8))
    found = reuse(validate_stored(kept.stored, 256) or pytest.fail("not readable"), kept.options)
    assert found is not None
    assert [each.label for each in found.objects] == ["box"]


def test_answers_are_shown_and_paged(old: Database) -> None:
    ledger, desk = SearchRepository(old), SearchQueue(old, "two", 30, 4)
    (answered,) = searches_by_state(old, "succeeded")
    status = ledger.status(answered)
    assert status.result is not None
    hit = status.result.objects[0].hits[0]
    assert (hit.product_id, hit.price, hit.probability) == ("p1", Decimal("99.90"), 0.8)
    assert hit.explanation is not None
    assert ledger.status_json(answered)["result"]["whole"]["hits"]
    page = desk.first_page(answered)
    assert page is not None
    assert page.options.top_k == 7
    assert ledger.load_earlier(answered).embedded
    (failed,) = searches_by_state(old, "failed")
    assert (ledger.status(failed).error or pytest.fail("no error")).code == "undecodable_image"
    (cancelled,) = searches_by_state(old, "cancelled")
    assert ledger.status(cancelled).state == "cancelled"
    feedback = FeedbackIn(query_id=answered, object=0, product_id="p1", kind="click")
    assert FeedbackRepository(old).check(feedback).rank == 1


def test_every_waiting_job_is_claimed_and_its_items_are_read(old: Database) -> None:
    desk = JobQueue(old, "two", 60, 4, 50)
    claims: list[ChunkClaim] = []
    while (claim := desk.claim()) is not None:
        claims.append(claim)
    kinds = {claim.kind for claim in claims}
    assert kinds == {*JobKind} - {"drop"}, "every kind that can wait beside the others"
    items = [(claim, item) for claim in claims for item in desk.items(claim)]
    assert len(items) == 4
    for claim, item in items:
        if claim.kind == "put" and "patch" not in item.payload:
            product = _merged_product(item, None)
            assert product.titles["de"] == "Roter Stuhl"
            assert product.attributes["nested"] == {"a": [1, "b", None, True]}
    (imported,) = [claim for claim in claims if claim.kind == "import"]
    options = _options(imported)
    assert (options.mode, options.dry_run, options.repair) == ("metadata_only", True, True)
    assert options.max_delete_share == 0.25


def test_everything_that_is_listed_is_listed(old: Database) -> None:
    assert len(JobRepository(old).list_recent()) == 14
    assert [each.number for each in IndexRepository(old).list_versions("shop")] == [3, 2, 1]
    assert IndexRepository(old).gate("shop", 1)["verdict"] == "passed"
    assert [each.product_id for each in GoldenRepository(old).list_page("shop", None, 10)] == ["p1"]
    assert len(FeedbackRepository(old).list_page("shop")) == 3
    ranking = RankingRepository(old)
    assert [b.factor for b in ranking.boosts("shop").boosts] == [1.25]
    assert [c.calibrated for c in ranking.calibrations("shop")] == [False]
    assert Boosting.stored([{"filter": "price < 50", "factor": 1.25}]).filters == (parse("price < 50"),)
    webhooks = WebhookRepository(old)
    (hook,) = webhooks.list_webhooks()
    assert hook.events == ["job.succeeded", "index.promoted"]
    assert webhooks.deliveries(hook.id)
    assert WebhookQueue(old, 60).take(10), "events that wait are sent"
    assert SearchMetricsRepository(old).count() == 1
    with old.read() as session:
        assert session.scalars(select(Catalogue.name)).one() == "shop"


@pytest.mark.parametrize("task", list(TaskName))
def test_messages_of_the_version_before_start_their_task(task: TaskName) -> None:
    """A message names its task and has the row's id as its one argument; its queue is a lane's."""
    from worker.app import app

    sent: dict[str, Any] = json.loads((HERE / "v0_1_messages.json").read_text(encoding="utf-8"))[str(task)]
    args, kwargs, _ = sent["body"]
    registered = app.tasks[sent["headers"]["task"]]
    inspect.signature(registered.run).bind(*args, **kwargs)
    assert sent["queue"] == str(LANE_OF[task])


def test_every_task_of_the_version_before_is_still_known() -> None:
    sent = json.loads((HERE / "v0_1_messages.json").read_text(encoding="utf-8"))
    assert set(sent) <= {str(task) for task in TaskName}
