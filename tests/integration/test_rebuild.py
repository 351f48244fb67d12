"""A rebuild fills a collection beside the old one: searches see the one or the other, never a part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.contracts import ProductIn, TaskStatus
from shared.jobs.work import ChunkClaim, Item
from tests.memory_index import MemoryIndex
from tests.servers import wait_for
from tests.shop import Shop
from worker.indexes.rows import row_key
from worker.indexes.versions import lock_catalogue_changes
from worker.products.stored_source import StoredSource
from worker.products.writing import ProductStages


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """On an index in memory; a test names a Milvus, by its fixture, where it is about that."""
    index, prefix = MemoryIndex(), "t"
    if which := getattr(request, "param", None):
        index, prefix = request.getfixturevalue(which), request.getfixturevalue("prefix")
    opened = Shop.in_small_steps(tmp_path, index, prefix)
    yield opened
    opened.close()


def lose(shop: Shop) -> None:
    """Lose collection and alias, as a Milvus with a new data folder has."""
    live = shop.live()
    shop.index.remove_alias(live.alias)
    shop.index.drop(live.collection)


def in_chunks_of_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild's chunks and micro-batches are large: make them as small as those of an import."""
    monkeypatch.setattr("worker.jobs.lane.LIGHT_CHUNK", 1)
    monkeypatch.setattr("worker.products.pipeline_runner.LIGHT_BATCH", 1)


def stored(shop: Shop, collection: str) -> tuple[list[dict[str, Any]], NDArray[np.float32]]:
    """What Milvus has of each row, field for field, by key; the embeddings apart."""
    from pymilvus import MilvusClient

    client = MilvusClient(shop.settings.milvus_uri)
    found = client.query(collection, 'key >= ""', ["*"], limit=1000, consistency_level="Strong")
    client.close()
    rows = [
        dict(row) | {"facts": list(row["facts"])} for row in sorted(found, key=lambda row: str(row["key"]))
    ]
    return rows, np.array([row.pop("embedding") for row in rows], np.float32)


@pytest.mark.parametrize("shop", ["milvus_lite", "milvus_server"], indirect=True)
def test_rebuilt_rows_are_those_of_before_field_for_field(shop: Shop) -> None:
    shop.fill(6)
    shop.put_drawn("rich", 7, 8, category="Chairs", price="12.50", tags=["oak"], attributes={"width": 120})
    before, embeddings = stored(shop, shop.live().collection)
    assert len(before) == 8
    assert any(row["price"] == 12.5 and row["category"] == "Chairs" and row["ordered"] for row in before)

    lose(shop)
    done = shop.done(shop.indexes.rebuild("shop").id)

    assert done.state == "succeeded", done
    assert done.counts.unchanged == 7
    assert done.report is not None
    assert (done.report["reconcile"]["missing"], done.report["reconcile"]["orphans"]) == (0, 0)
    rows, rebuilt = stored(shop, shop.live().collection)
    assert rows == before
    # The database keeps 16 bits of each number.
    assert np.abs(rebuilt - embeddings).max() < 1e-3


def test_a_rebuild_goes_on_with_the_chunk_that_a_dead_worker_held(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_chunks_of_an_import(monkeypatch)
    shop.fill(10)
    lose(shop)
    job = shop.indexes.rebuild("shop").id
    shop.work(1)  # the plan
    held = shop.worker.catalogue.context.desk.claim()
    assert held is not None
    assert held.stage == "items"
    shop.worker.close()
    shop.worker = shop.new_worker()  # of the same name, as after a death
    assert shop.done(job).state == "succeeded"
    shop.assert_exact(shop.live(), 10)


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "control"])
def test_a_product_that_goes_while_its_rows_are_written_leaves_none(shop: Shop, noticed: bool) -> None:
    shop.fill(3)
    version = shop.live()
    context = shop.worker.catalogue.context
    claim = cast(ChunkClaim, None)  # nothing of it is recorded
    stages = ProductStages(context, claim, StoredSource(context, 1, version, "none"), is_recorded=False)
    batch = stages.load([Item(0, 0, name, {}, 0) for name in ("p1", "p2", "missing")])
    results = {outcome.item.product_id: outcome.result for outcome in batch.settled}
    assert results == {"p1": "unchanged", "p2": "unchanged", "missing": "deleted"}
    [gone] = [row.key for row in batch.kept_rows[version.id] if row.product_id == "p1"]
    assert gone == row_key(gone[:32], 0)

    shop.delete("p1")
    if not noticed:
        with context.database.read() as session:
            batch.changes = lock_catalogue_changes(session, 1)
    stages.write(batch)
    assert (gone in shop.keys(version.collection)) is not noticed


@pytest.mark.parametrize("shop", [None, "milvus"], indirect=True)
def test_products_that_change_during_a_rebuild_are_right_in_the_new_collection(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_chunks_of_an_import(monkeypatch)
    shop.fill(10)
    before = shop.live()
    job = shop.indexes.rebuild("shop").id
    shop.work(2)  # the plan, and the first chunk: p0 to p3
    assert shop.live().collection == before.collection
    assert len(shop.found(3, top_k=20)) == 10, "searches use the old collection, whole"

    shop.put_drawn("p1", 1, category="Changed after it was written")
    shop.put_drawn("p7", 77, category="Changed before")
    shop.put_drawn("new", 50)
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


@pytest.mark.parametrize("shop", ["milvus"], indirect=True)
def test_a_search_fails_by_name_while_the_index_is_gone_and_a_put_does_not_make_it_empty(
    shop: Shop,
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
    asked.append(shop.ask(3))
    answers = wait_for("every search is answered", lambda: answered(shop, asked))
    # While the collection is gone a search says so at once; afterwards it is answered from all of it.
    assert {a.error.code for a in answers if a.error} <= {"index_missing"}
    assert [a.state for a in answers if not a.error] == ["succeeded"] * sum(not a.error for a in answers)
    assert answers[-1].state == "succeeded"
    assert {a.result.whole.hits[0].product_id for a in answers if a.result} == {"p3"}
    assert all(len(a.result.whole.hits) >= 6 for a in answers if a.result), "no partial answer"
    shop.assert_exact(shop.live(), 7)


def answered(shop: Shop, asked: list[TaskStatus]) -> list[TaskStatus] | None:
    shop.worker.search.answer_waiting()
    found = [shop.searches.status(task.id) for task in asked]
    return None if any(each.state in ("queued", "running") for each in found) else found


def _product(shop: Shop, seed: int) -> tuple[ProductIn, list[str]]:
    from tests.shop import photo

    return ProductIn(), [shop.store.put(photo(seed), "images")]
