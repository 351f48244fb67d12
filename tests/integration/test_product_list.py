"""The owner's list of products and the upload of a dry run, on both kinds of database."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select, update

from shared.catalogue.product_list import ProductList
from shared.catalogue.store import CatalogueStore
from shared.database import Database
from shared.database.tables import Catalogue, Image, Job, Product
from shared.jobs.repository import JobRepository
from shared.retention.expiry import expired_imports


@pytest.fixture
def products(database: Database) -> ProductList:
    """Five chairs and a sofa."""
    CatalogueStore(database).create("shop", "USD")
    with database.write() as session:
        place = session.scalar(select(Catalogue.id))
        names = [(f"chair-{n}", {"en": f"Chair {n}", "de": f"Stuhl {n}"}) for n in range(5)]
        for n, (product_id, titles) in enumerate([*names, ("sofa_1", {"fr": "Canapé 100% lin"})]):
            row = Product(
                catalogue_id=place,
                product_id=product_id,
                titles=titles,
                category="",
                categories={},
                price=None,
                currency=None,
                url=None,
                tags=[],
                attributes={},
                digest="",
                updated_at=0.0,
            )
            session.add(row)
            session.flush()
            for position in range(n % 3):
                key = f"{n:030x}{position:02x}"
                size = {"width": 8, "height": 8}
                session.add(Image(id=key, product=row.id, position=position, sha256=key * 2, **size))
    return ProductList(database)


def ids(products: ProductList, text: str) -> list[str]:
    return [each.product_id for each in products.page("shop", text).products]


def test_texts_are_found_in_ids_and_in_titles_of_any_language(products: ProductList) -> None:
    assert ids(products, "STUHL 3") == ["chair-3"]
    assert ids(products, "canapé") == ["sofa_1"]
    assert ids(products, "100% l") == ["sofa_1"]
    assert ids(products, "_1") == ["sofa_1"], "no sign stands for another"
    assert ids(products, "%") == ["sofa_1"]
    assert ids(products, "\\") == ids(products, "'") == []
    assert len(ids(products, "chair")) == 5


def test_pages_follow_each_other_without_a_gap(products: ProductList) -> None:
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = products.page("shop", after=after, limit=2, locale="de")
        seen += [each.product_id for each in page.products]
        after = page.next
    assert seen == [*(f"chair-{n}" for n in range(5)), "sofa_1"]
    first, second, third = products.page("shop", limit=3, locale="de_AT").products
    assert (first.title, first.currency, first.image_url, first.pictures) == ("Stuhl 0", "USD", None, 0)
    assert (second.pictures, third.pictures) == (1, 2)
    assert third.image_url == f"/v1/images/{2:030x}00"
    assert products.read_titles("shop", ["chair-1", "gone"])["chair-1"][0] == "Chair 1"


def test_a_dry_run_keeps_its_upload_for_the_import(database: Database) -> None:
    CatalogueStore(database).create("shop")
    jobs = JobRepository(database)
    for name, dry_run in (("a", True), ("b", False)):
        jobs.create_import("shop", {"archive": name}, None, {"dry_run": dry_run})
    with database.write() as session:
        session.execute(update(Job).values(state="succeeded", finished_at=time.time() - 100))
    assert list(expired_imports(database, ["a", "b"], 1000.0)) == ["b"]
    assert list(expired_imports(database, ["a", "b"], 10.0)) == ["a", "b"]
