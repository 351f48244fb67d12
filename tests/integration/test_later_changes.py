"""The later of two changes of a product wins, whichever is carried out last."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.contracts import ProductIn
from shared.database import Database
from shared.errors import UnknownProduct
from shared.jobs.repository import JobRepository
from tests.job_builders import claim_of, desk, jobs
from tests.packing import pictures
from tests.shop import Shop, reasons, shop
from worker.products import manifest_source, order, tables

__all__ = ["jobs", "shop"]

pytestmark = pytest.mark.services

PHOTOS = pictures(3)
MANIFEST = "product_id,image,price\np0,p0.jpg,20\np1,p1.jpg,20\np2,p2.jpg,20\n"
FILES: dict[str, bytes | str] = {**PHOTOS, "products.csv": MANIFEST}


def price(shop: Shop, product_id: str) -> float | None:
    found = shop.catalogue.product("shop", product_id).price
    return None if found is None else float(found)


def test_an_import_does_not_overwrite_a_later_change(shop: Shop) -> None:
    shop.import_files(FILES)
    older = shop.accept_import(FILES)
    change = shop.jobs.create_patch("shop", "p0", {"price": 99}).id
    shop.done(change)
    gone = shop.jobs.create_delete("shop", ["p1"]).id
    shop.done(gone)

    ended = shop.done(older)
    assert price(shop, "p0") == 99
    with pytest.raises(UnknownProduct):
        shop.catalogue.product("shop", "p1")
    assert ended.state == "succeeded"
    assert ended.counts.unchanged == 3
    assert reasons(shop, older) == {"p0": order.SUPERSEDED, "p1": order.SUPERSEDED}
    assert shop.rows() == 2


def test_control_without_the_comparison_the_older_import_wins(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files(FILES)
    older = shop.accept_import(FILES)
    shop.done(shop.jobs.create_patch("shop", "p0", {"price": 99}).id)
    for module in (tables, manifest_source):
        monkeypatch.setattr(module, "find_superseded", lambda *_: set())
    shop.done(older)
    assert price(shop, "p0") == 20


def test_an_import_that_comes_later_overwrites(shop: Shop) -> None:
    shop.import_files(FILES)
    shop.done(shop.jobs.create_patch("shop", "p0", {"price": 99}).id)
    shop.done(shop.jobs.create_delete("shop", ["p1"]).id)
    shop.import_files(FILES)
    assert (price(shop, "p0"), price(shop, "p1")) == (20, 20)


def test_a_retry_is_as_old_as_the_job_that_it_repeats(shop: Shop) -> None:
    broken: dict[str, bytes | str] = {**FILES, "p0.jpg": b"no picture"}
    first = shop.import_files(broken)
    shop.put("p0", ProductIn(price=Decimal(99)), [PHOTOS["p0.jpg"]])
    retried = shop.jobs.retry(first, None, 256).id
    shop.done(retried)
    assert price(shop, "p0") == 99


def test_updates_of_one_product_are_taken_one_after_another(jobs: JobRepository, database: Database) -> None:
    first = jobs.create_put("shop", "chair", ProductIn(), []).id
    second = jobs.create_put("shop", "chair", ProductIn(), []).id
    other = jobs.create_put("shop", "table", ProductIn(), []).id
    one, two = desk(database, "one"), desk(database, "two")
    claim = claim_of(one)
    assert claim.job_id == first
    assert claim_of(two).job_id == other
    assert two.claim() is None
    assert one.finish(claim) == [jobs.first_chunk(second)]
    assert claim_of(two).job_id == second
