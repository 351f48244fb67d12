"""M28: while index versions are promoted and rolled back, no search fails, is empty, or mixes two."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.services.milvus import EmbeddedMilvus
from shared.contracts import SearchOptions
from shared.searches.repository import SearchSource
from tests.servers import wait_for
from tests.shop import NEW, OLD, Shop, photo, shown
from worker.vector_index import MilvusIndex
from worker.vision.pipeline import Pipeline

PRODUCTS = 12
MOVES = 20


@pytest.fixture
def shop(tmp_path: Path, milvus: EmbeddedMilvus, prefix: str) -> Iterator[Shop]:
    """With two versions, the new one live."""
    opened = Shop.in_small_steps(tmp_path, milvus, prefix)
    opened.fill(PRODUCTS)
    opened.done(opened.reprocess(promote="auto"))
    opened.rows()
    yield opened
    opened.close()


class Shopper(threading.Thread):
    """Searches as fast as answers come, several at once, as a search worker's batches are."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(name="shopper")
        self.shop = shop
        self.ids: list[str] = []
        self.stopping = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        keys = [self.shop.store.put(photo(seed), "queries") for seed in range(3)]
        wanted = SearchOptions(catalogue="shop", top_k=PRODUCTS)
        try:
            while not self.stopping.is_set():
                for key in keys:
                    self.ids.append(
                        self.shop.searches.accept("shop", wanted, SearchSource(query_key=key), ttl_s=600).id
                    )
                self.shop.worker.search.answer_waiting()
        except BaseException as error:
            self.error = error

    def wait_for_searches(self, count: int) -> None:
        wait_for("searches go on", lambda: len(self.ids) > count)

    def stop(self) -> None:
        self.stopping.set()
        self.join()
        assert self.error is None, self.error


def test_no_search_fails_or_mixes_versions_during_promotions_and_a_prune(shop: Shop) -> None:
    expected: dict[int, dict[int, Any]] = {}
    for _ in range(2):
        expected[shop.live().number] = {seed: shown(shop.search(seed, top_k=PRODUCTS)) for seed in range(3)}
        shop.done(shop.rollback())
        shop.rows()
    assert {answers[0][0] for answers in expected.values()} == {OLD, NEW}
    of_collection = {v.collection: expected[v.number] for v in shop.versions().values()}

    shopper = Shopper(shop)
    shopper.start()
    for _ in range(MOVES):
        before = len(shopper.ids)
        assert shop.done(shop.rollback()).state == "succeeded"
        shopper.wait_for_searches(before + 3)
    shop.done(shop.prune(all=True))
    before = len(shopper.ids)
    shopper.wait_for_searches(before + 3)
    shopper.stop()

    seen = set()
    for number, search in enumerate(shopper.ids):
        status = shop.answered(search)
        assert status.state == "succeeded", status
        assert status.result is not None
        collection = status.result.models["index"]
        assert shown(status.result) == of_collection[collection][number % 3]
        seen.add(collection)
    assert seen == set(of_collection), "searches saw both versions"
    assert len(shopper.ids) > 3 * MOVES


@pytest.mark.parametrize("guarded", [True, False])
def test_a_promotion_in_the_middle_of_a_search(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """The control searches by the alias, as tools outside do: it then looks in the one version for what
    the other one's models made of the photo."""
    before = shown(shop.search(1, top_k=PRODUCTS))
    embed, search = Pipeline.embed_query, MilvusIndex.search
    moved: list[bool] = []

    def move_then_embed(pipeline: Pipeline, *args: Any) -> Any:
        if not moved:
            moved.append(True)
            shop.done(shop.rollback())
            shop.rows()
        return embed(pipeline, *args)

    monkeypatch.setattr(Pipeline, "embed_query", move_then_embed)
    if not guarded:
        alias = shop.live().alias
        monkeypatch.setattr(MilvusIndex, "search", lambda i, _, *rest: search(i, alias, *rest))
    after = shown(shop.search(1, top_k=PRODUCTS))
    assert moved
    assert (after == before) is guarded
    assert shown(shop.search(1, top_k=PRODUCTS))[0] == OLD


def test_a_collection_that_is_dropped_in_the_middle_of_a_search_is_looked_for_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = Pipeline.embed_query
    moved: list[bool] = []

    def prune_then_embed(pipeline: Pipeline, *args: Any) -> Any:
        if not moved:
            moved.append(True)
            shop.done(shop.rollback())
            shop.done(shop.prune(index=2))
            shop.rows()
        return embed(pipeline, *args)

    monkeypatch.setattr(Pipeline, "embed_query", prune_then_embed)
    result = shop.search(1, top_k=PRODUCTS)
    assert moved
    assert result.models["embedder"] == OLD
    assert len(result.whole.hits) == PRODUCTS
