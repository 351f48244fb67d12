"""From upload to hit, through every real process."""

from __future__ import annotations

import pytest

from tests import builders
from tests.packing import archive
from tests.stack import Stack

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
