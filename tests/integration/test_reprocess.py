"""A catalogue goes from one embedder to another, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.services.milvus import EmbeddedMilvus
from shared.contracts.indexes import PromoteRequest, PruneRequest, ReprocessRequest, RollbackRequest
from tests.index_shop import IndexShop

NEW = "perceptual-hash"


class Shop(IndexShop):
    """Re-processes from colour histograms to perceptual hashes."""

    def reprocess(self, **options: object) -> str:
        wanted = ReprocessRequest.model_validate({"embedder": NEW, **options})
        return self.indexes.reprocess("shop", wanted).id

    def promote(self, **options: object) -> str:
        wanted = PromoteRequest.model_validate(options)
        return self.indexes.promote("shop", wanted).id

    def rollback(self) -> str:
        return self.indexes.rollback("shop", RollbackRequest()).id

    def prune(self, **options: object) -> str:
        return self.indexes.prune("shop", PruneRequest.model_validate(options)).id


@pytest.fixture
def shop(tmp_path: Path, milvus: EmbeddedMilvus, prefix: str) -> Iterator[Shop]:
    opened = Shop(tmp_path, milvus, prefix)
    yield opened
    opened.close()


@pytest.fixture
def each_shop(tmp_path: Path, each_milvus: EmbeddedMilvus, prefix: str) -> Iterator[Shop]:
    opened = Shop(tmp_path, each_milvus, prefix)
    yield opened
    opened.close()


def test_from_one_embedder_to_another_and_back_with_changes_all_along(each_shop: Shop) -> None:
    shop = each_shop
    shop.fill(12)
    job = shop.reprocess()
    shop.work(2)  # the plan, and the first chunk: p0 to p3
    assert shop.versions()[2].state == "building"
    assert shop.search(5).models["embedder"] == "colour-histogram"

    shop.put("p1", 1, category="Changed after it was filled")
    shop.put("p8", 88, category="Changed before")
    shop.put("new", 50)
    shop.delete("p2")
    shop.delete("p10")
    status = shop.done(job)
    assert status.state == "succeeded", status
    assert status.report is not None
    assert status.report["gate"]["verdict"] == "passed", status.report
    assert status.report["promoted"] is False
    assert status.report["index"] == 2
    assert (shop.live().number, shop.versions()[2].state) == (1, "ready")
    for version in shop.versions().values():
        shop.assert_exact(version, 11)

    shop.put("late", 60)
    assert shop.done(shop.promote()).state == "succeeded"
    assert shop.live().number == 2
    assert shop.index.resolve_alias(shop.live().alias) == shop.live().collection
    shop.assert_exact(shop.live(), 12)
    result = shop.search(88, category="Changed before")
    assert [h.product_id for h in result.whole.hits] == ["p8"]
    assert result.models == {"detector": "none", "embedder": NEW, "index": shop.live().collection}
    assert shop.found(1, category="Changed after it was filled") == ["p1"]
    assert {shop.found(seed)[0] for seed in (50, 60)} == {"new", "late"}

    # What changes now, the retired version does not get; a deletion reaches it at once.
    shop.put("p3", 33, category="After the promotion")
    shop.put("later", 70)
    shop.delete("p4")
    retired = shop.versions()[1]
    assert retired.stale_since is not None
    status = shop.done(shop.rollback())
    assert status.state == "succeeded", status
    assert shop.live().number == 1
    assert shop.live().stale_since is None
    shop.assert_exact(shop.live(), 12)
    assert shop.found(33, category="After the promotion") == ["p3"]
    assert shop.found(70)[0] == "later"
    assert shop.search(0).models["embedder"] == "colour-histogram"
