"""How much the owner's pages ask of the database: no more with more catalogues, nothing for a photo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from shared.contracts.states import JobKind
from tests.manage_builders import add_version, done, job_at, see, send
from tests.web_builders import Shop, open_shop, picture


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path)


@contextmanager
def statements(shop: Shop) -> Iterator[list[str]]:
    """Yield what the application asks its database meanwhile."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    engine = shop.parts.database.engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_the_start_page_asks_as_much_for_many_catalogues_as_for_one(shop: Shop) -> None:
    done(shop, shop.parts.jobs.create_import("demo", {}).id)
    see(shop, "/manage")  # counts the products
    with statements(shop) as of_one:
        see(shop, "/manage")
    for number in range(5):
        shop.parts.catalogue.create(f"winter-{number}")
    newer = shop.parts.jobs.create(JobKind.RECONCILE, "winter-3").id
    with statements(shop) as of_many:
        text = see(shop, "/manage")
    assert len(of_many) == len(of_one)
    assert newer in text
    assert "1 product" in text
    assert text.count("0 products") == 5


def test_each_catalogue_has_its_own_newest_job(shop: Shop) -> None:
    assert shop.parts.jobs.latest_by_catalogue() == {}
    shop.parts.catalogue.create("winter")
    jobs = [
        shop.parts.jobs.create(JobKind.RECONCILE, name).id for name in ("demo", "winter", "winter", "demo")
    ]
    assert {name: job.id for name, job in shop.parts.jobs.latest_by_catalogue().items()} == {
        "demo": jobs[3],
        "winter": jobs[2],
    }


def test_a_photo_of_the_gate_counts_no_pictures(shop: Shop) -> None:
    sample = {"source": "golden", "key": shop.parts.store.put(picture(), "golden"), "product_id": None}
    add_version(shop, 1, "ready", gate={"verdict": "passed", "checks": [], "samples": [sample]})
    with statements(shop) as asked:
        answer = shop.client.get("/manage/catalogues/demo/indexes/1/samples/0")
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert asked
    assert not [statement for statement in asked if "detections" in statement]


def test_a_product_that_was_ticked_twice_is_deleted_once(shop: Shop) -> None:
    fields = {"product_id": ["chair-1", "chair-1"]}
    job = job_at(send(shop, "/manage/catalogues/demo/duplicates/delete", **fields))
    assert shop.parts.jobs.status(job).total == 1


def test_a_deleted_catalogue_is_offered_to_nobody(shop: Shop) -> None:
    shop.parts.catalogue.create("winter")
    assert shop.parts.window.catalogues() == ["demo", "winter"]
    shop.parts.jobs.create_drop("winter")
    assert shop.parts.window.catalogues() == ["demo"]
    assert "~" not in see(shop, "/manage")
    assert shop.parts.jobs.latest_by_catalogue() == {}
