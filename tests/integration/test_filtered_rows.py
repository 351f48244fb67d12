"""What filters ask of a product reaches the index when the product is written, and when it changes."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import select

from shared.contracts import ProductIn
from shared.database.filter_sql import where
from shared.database.tables import Product
from shared.factories import open_database
from shared.filters import parse
from tests import builders
from tests.servers import patiently
from tests.services_milvus import unit_vectors
from tests.shop import Shop

PICTURE = builders.jpeg(seed=1, width=200, height=200)


def in_index(shop: Shop, text: str) -> set[str]:
    index, name = shop.worker.index, f"{shop.settings.milvus.prefix}_1"
    vectors = unit_vectors(1, shop.live().dim)
    hits = patiently("the rows", lambda: index.search(name, vectors, 100, parse(text)))[0]
    return {hit.product_id for hit in hits}


def in_database(shop: Shop, text: str) -> set[str]:
    database = open_database(shop.settings)
    with database.read() as session:
        found = set(session.scalars(select(Product.product_id).where(where(parse(text)))))
    database.close()
    return found


@pytest.mark.parametrize("shop", ["sqlite", "milvus"], indirect=True)
def test_a_change_without_a_new_picture_reaches_the_rows(shop: Shop) -> None:
    before = ProductIn(
        titles={"en": "Oak chair"}, price=Decimal("19.99"), tags=["sale"], attributes={"material": "oak"}
    )
    shop.put("chair", before, [PICTURE])
    shop.put("vase", ProductIn(titles={"en": "Vase"}), [PICTURE])
    old = ["tags contains 'sale'", "attributes.material = 'oak'", "title contains 'chair'", "price < 20"]
    new = ["exists attributes.size", "title contains 'stuhl'", "price 40..50", "currency = 'USD'"]
    for look in (in_index, in_database):
        assert [look(shop, text) for text in old] == [{"chair"}] * 4
        assert [look(shop, text) for text in new] == [set()] * 4
        assert look(shop, "not exists price") == {"vase"}

    after = ProductIn(
        titles={"de": "Stuhl"}, price=Decimal("45"), currency="USD", attributes={"size": {"width": 40}}
    )
    job = shop.put("chair", after, None)
    assert shop.jobs.status(job).images == 0, "a known picture must not be embedded again"
    for look in (in_index, in_database):
        assert [look(shop, text) for text in old] == [set()] * 4
        assert [look(shop, text) for text in new] == [{"chair"}] * 4


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"tags": ["new"]}, "tags = 'new'"),
        ({"attributes": {"a": [1, 2]}}, "attributes.a contains 2"),
        ({"titles": {"ja": "木製の椅子"}}, "title contains '椅子'"),
        ({"category": "stools"}, "category = 'stools'"),
        ({"price": 0}, "price = 0"),
    ],
)
def test_each_change_alone_reaches_the_rows(shop: Shop, changes: dict[str, object], text: str) -> None:
    shop.put("chair", ProductIn(), [PICTURE])
    assert in_index(shop, text) == set()
    shop.put("chair", ProductIn.model_validate(changes), None)
    assert in_index(shop, text) == {"chair"}
