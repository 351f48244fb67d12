"""A rebuild fills a collection beside the old one: searches see the one or the other, never a part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.services.milvus import EmbeddedMilvus
from shared.contracts import TaskStatus
from tests.index_shop import IndexShop
from tests.servers import wait_for


@pytest.fixture
def shop(tmp_path: Path, each_milvus: EmbeddedMilvus, prefix: str) -> Iterator[IndexShop]:
    opened = IndexShop(tmp_path, each_milvus, prefix)
    yield opened
    opened.close()


def lose(shop: IndexShop) -> None:
    """Lose collection and alias, as a Milvus with a new data folder has."""
    from pymilvus import MilvusClient

    live = shop.live()
    client = MilvusClient(shop.settings.milvus_uri)
    client.drop_alias(live.alias)
    client.drop_collection(live.collection)
    client.close()


def test_products_that_change_during_a_rebuild_are_right_in_the_new_collection(shop: IndexShop) -> None:
    shop.fill(10)
    before = shop.live()
    job = shop.indexes.rebuild("shop").id
    shop.work(2)  # the plan, and the first chunk: p0 to p3
    assert shop.live().collection == before.collection
    assert len(shop.found(3, top_k=20)) == 10, "searches use the old collection, whole"

    shop.put("p1", 1, category="Changed after it was written")
    shop.put("p7", 77, category="Changed before")
    shop.put("new", 50)
    shop.delete("p2")
    shop.delete("p9")
    status = shop.done(job)

    assert status.state == "succeeded", status
    after = shop.live()
    assert after.collection != before.collection
    assert after.beside is None
    assert shop.index.resolve_alias(after.alias) == after.collection
    assert before.collection not in shop.index.collections()
    shop.assert_exact(after, 9)
    assert shop.found(1, category="Changed after it was written") == ["p1"]
    assert shop.found(77, category="Changed before") == ["p7"]
    assert shop.found(50)[0] == "new"


def test_a_search_waits_while_the_index_is_gone_and_a_put_does_not_make_it_empty(
    shop: IndexShop,
) -> None:
    shop.fill(6)
    lose(shop)
    put = shop.jobs.create_put("shop", "late", *_product(shop, 60)).id
    shop.work(1)
    assert shop.jobs.status(put).state == "running"
    assert shop.live().collection not in shop.index.collections(), "a put must not make an empty collection"

    job = shop.indexes.rebuild("shop").id
    asked = []
    for _ in range(20):
        asked.append(shop.ask(3))
        if not shop.work(1) or shop.jobs.status(job).state == "succeeded":
            break
    shop.done(job)
    shop.done(put)
    answers = wait_for("every search is answered", lambda: answered(shop, asked))
    assert [a.state for a in answers] == ["succeeded"] * len(asked)
    assert {a.result.whole.hits[0].product_id for a in answers if a.result} == {"p3"}
    assert all(len(a.result.whole.hits) >= 6 for a in answers if a.result), "no partial answer"
    shop.assert_exact(shop.live(), 7)


def answered(shop: IndexShop, asked: list[TaskStatus]) -> list[TaskStatus] | None:
    shop.worker.search.answer_waiting()
    found = [shop.searches.status(task.id) for task in asked]
    return None if any(each.state in ("queued", "running") for each in found) else found


def _product(shop: IndexShop, seed: int) -> tuple[object, list[str]]:
    from shared.contracts import ProductIn
    from tests.index_shop import photo

    return ProductIn(), [shop.store.put(photo(seed), "images")]
