"""From upload to hit, through every real process."""

from __future__ import annotations

import pytest

from tests import builders
from tests.packing import archive, pictures
from tests.servers import PATIENCE_S, wait_for
from tests.stack import Stack
from worker.vector_index import MilvusIndex

pytestmark = pytest.mark.services


def test_an_imported_product_is_found_by_its_photo(stack: Stack) -> None:
    stack.start()
    pictures = {f"p{n}.jpg": builders.jpeg(seed=n, width=200, height=160) for n in range(12)}
    job = stack.wait_job(stack.import_folder("shop", archive({**pictures, "bad.jpg": b"not a picture"})))
    assert job["state"] == "succeeded"
    assert job["counts"] == {"new": 12, "changed": 0, "unchanged": 0, "deleted": 0, "failed": 1}
    failures = stack.client().get(f"/v1/jobs/{job['id']}/failures").json()["failures"]
    assert [(f["product_id"], f["reason"]) for f in failures] == [("bad", "unsupported_format")]

    accepted = stack.search(pictures["p7.jpg"], "shop", top_k=3)
    assert accepted.status_code == 202
    task = stack.wait_task(accepted.json()["id"])
    assert task["state"] == "succeeded", task
    hits = task["result"]["whole"]["hits"]
    assert hits[0]["product_id"] == "p7"
    assert len(hits) == 3
    assert {"wait", "decode", "detect", "embed", "search", "hydrate"} <= set(task["result"]["timings_ms"])

    similar = stack.client().post("/v1/searches", json={"catalogue": "shop", "product_id": "p7", "top_k": 5})
    found = stack.wait_task(similar.json()["id"])["result"]["whole"]["hits"]
    assert len(found) == 5
    assert "p7" not in {hit["product_id"] for hit in found}

    again = stack.wait_job(stack.import_folder("shop", archive(pictures)))
    assert again["counts"]["unchanged"] == 12
    assert again["images"] == 0


def test_a_wiped_index_and_a_wiped_broker_come_back_from_the_database(stack: Stack) -> None:
    stack.start()
    photos = pictures(10)
    stack.wait_job(stack.import_folder("shop", archive(photos)))
    index = MilvusIndex(stack.env["VITRINE_MILVUS__URI"], timeout_s=PATIENCE_S)
    alias = f"{stack.env['VITRINE_MILVUS__PREFIX']}_1"
    before = set(index.sorted_keys(alias))
    assert len(before) == 10
    drop_everything(stack.env["VITRINE_MILVUS__URI"], index, alias)
    stack.redis.wipe()
    stack.redis.start()

    lost = stack.wait_task(stack.search(photos["p3.jpg"], "shop").json()["id"])
    assert (lost["state"], lost["error"]["code"]) == ("failed", "index_missing")
    assert "vitrine rebuild shop" in lost["error"]["message"]
    named = wait_for("the catalogue is named", lambda: stack.status().get("missing_collections"))
    assert [(each["catalogue"], each["command"]) for each in named] == [("shop", "vitrine rebuild shop")]
    assert stack.status()["parts"]["index"] == "ok"
    assert not stack.ready()

    job = stack.wait_job(stack.client().post("/v1/catalogues/shop/rebuild", json={}).json()["id"])
    assert (job["state"], job["counts"]["unchanged"], job["images"]) == ("succeeded", 10, 0)
    assert set(index.sorted_keys(alias)) == before
    # None may be answered from a collection that the rebuild has only half filled.
    task = stack.wait_task(stack.search(photos["p3.jpg"], "shop").json()["id"])
    assert task["state"] == "succeeded", task
    assert task["result"]["whole"]["hits"][0]["product_id"] == "p3"
    wait_for("all is ready again", stack.ready)


def drop_everything(uri: str, index: MilvusIndex, alias: str) -> None:
    """Lose the collection and its alias, as a Milvus with a new data folder has."""
    from pymilvus import MilvusClient

    collection = index.resolve_alias(alias)
    assert collection is not None
    client = MilvusClient(uri)
    client.drop_alias(alias)
    client.drop_collection(collection)
    client.close()
