"""Rows of products put by hand are sealed, and only when there are new ones."""

from __future__ import annotations

import pytest
from pymilvus import MilvusClient

from shared.contracts import ProductIn
from shared.factories import open_database
from tests.packing import pictures
from tests.servers import wait_for
from tests.shop import Shop
from worker.indexes.flush import IndexFlusher


def sealed_rows(shop: Shop, collection: str) -> int:
    """What Milvus counts without its log."""
    client = MilvusClient(shop.settings.milvus_uri)
    try:
        return int(client.get_collection_stats(collection)["row_count"])
    finally:
        client.close()


@pytest.mark.parametrize("shop", ["milvus"], indirect=True)
def test_what_was_put_by_hand_is_sealed_once(shop: Shop) -> None:
    photos = list(pictures(2).values())
    shop.put("one", ProductIn(titles={"en": "One"}), photos[:1])
    collection = f"{shop.settings.milvus.prefix}_1_v1"
    flusher = IndexFlusher(open_database(shop.settings), shop.worker.index)
    assert flusher.flush_changed() == [collection]
    assert wait_for("the row is sealed", lambda: sealed_rows(shop, collection) == 1)
    assert flusher.flush_changed() == []
    shop.put("two", ProductIn(titles={"en": "Two"}), photos[1:])
    assert flusher.flush_changed() == [collection]
    assert wait_for("the second row is sealed", lambda: sealed_rows(shop, collection) == 2)
