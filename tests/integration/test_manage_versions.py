"""The owner's pages of index versions and duplicates, and the operator's page, without a browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared.database.tables import Timing
from tests.manage_builders import add_version, job_at, see, send
from tests.web_builders import IMAGE_ID, Shop, open_shop, picture

GATE: dict[str, object] = {
    "verdict": "passed",
    "checks": [{"name": "golden_loss", "value": 0.01, "threshold": 0.02, "passed": True, "note": "99 %"}],
}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path)


def test_index_versions_are_moved_by_forms(shop: Shop) -> None:
    assert "There is no index yet" in see(shop, "/manage/catalogues/demo/indexes")
    add_version(shop, 1, "live")
    add_version(shop, 2, "ready", gate=GATE)
    text = see(shop, "/manage/catalogues/demo/indexes")
    assert "Promote: make it live" in text
    assert "embedder-2" in text
    job = job_at(send(shop, "/manage/catalogues/demo/indexes/promote", index="2"))
    assert shop.parts.jobs.status(job).kind == "promote"
    job = job_at(send(shop, "/manage/catalogues/demo/indexes/reprocess", embedder="other", scope="all"))
    assert shop.parts.jobs.status(job).options["embedder"] == "other"
    again = send(shop, "/manage/catalogues/demo/indexes/reprocess", scope="all")
    assert (again.status_code, job in again.text) == (409, True)
    assert send(shop, "/manage/catalogues/demo/indexes/rollback").status_code == 404
    assert send(shop, "/manage/catalogues/demo/indexes/prune", index="1").status_code == 409
    assert send(shop, "/manage/catalogues/demo/indexes/explode").status_code == 404


def test_old_and_new_results_of_a_query_stand_side_by_side(shop: Shop) -> None:
    key = shop.parts.store.put(picture(), "golden")
    sample = {
        "source": "golden", "key": key, "product_id": "chair-1", "box": None,
        "before": [["gone-9", 0.9]], "after": [["chair-1", 0.95], ["gone-9", 0.4]],
    }  # fmt: skip
    add_version(shop, 1, "ready", gate={**GATE, "samples": [sample]})
    text = see(shop, "/manage/catalogues/demo/indexes/1")
    assert "Golden queries lost" in text
    assert text.index("gone-9") < text.index("Oak chair")
    assert f'src="/v1/images/{IMAGE_ID}?size=160"' in text
    photo = shop.client.get("/manage/catalogues/demo/indexes/1/samples/0")
    assert (photo.status_code, photo.mimetype) == (200, "image/webp")
    assert shop.client.get("/manage/catalogues/demo/indexes/1/samples/1").status_code == 404
    see(shop, "/manage/catalogues/demo/indexes/9", 404)


def test_duplicates_are_looked_for_shown_and_deleted(shop: Shop) -> None:
    assert "No duplicate search has run" in see(shop, "/manage/catalogues/demo/duplicates")
    job = job_at(send(shop, "/manage/catalogues/demo/duplicates"))
    assert shop.parts.jobs.status(job).kind == "duplicates"
    assert job in see(shop, "/manage/catalogues/demo/duplicates")
    nothing = send(shop, "/manage/catalogues/demo/duplicates/delete")
    assert (nothing.status_code, "Nothing was selected" in nothing.text) == (422, True)
    gone = job_at(send(shop, "/manage/catalogues/demo/duplicates/delete", product_id="chair-1"))
    assert shop.parts.jobs.status(gone).total == 1


def test_operations_shows_what_the_status_says_and_draws_the_hour(shop: Shop) -> None:
    empty = see(shop, "/operations")
    assert "No searches in the last hour" in empty
    assert "No probes yet" in empty
    assert "No process reported" in empty
    with shop.parts.database.write() as session:
        for n in (1, 2):
            stages = {"detect": 10.0, "embed": 5.0 * n}
            session.add(Timing(finished_at=time.time() - 60 * n, stages=stages))
    details = {"runtime": "openvino", "device": "cpu", "embedder": "e1"}
    shop.parts.presence.write_heartbeat("search@here", "search", details)
    text = see(shop, "/operations")
    assert "search@here" in text
    assert "openvino, cpu" in text
    assert text.count('<rect class="mark"') == 2
    assert "Finding objects" in text
    assert ":5555/" in text
