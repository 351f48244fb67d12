"""Disk: a low-water mark before anything is accepted, and budgets of what is kept for a while."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from shared.retention.expiry import unused_query_images
from shared.storage.image_store import image_path
from tests.web_builders import Shop, open_shop, picture, upload
from worker.maintenance.disk_budgets import trim_photos, trim_uploads


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path / "shop")


def aged(shop: Shop, name: str, kind: str, age_s: float) -> str:
    path = Path(shop.settings.data_dir / "images" / image_path(name, kind))
    os.utime(path, (time.time() - age_s,) * 2)
    return name


def photos_of(shop: Shop, count: int) -> list[str]:
    """Store photos, the oldest first."""
    keys = [shop.parts.store.put(bytes([n]) * 1_000, "queries") for n in range(count)]
    return [aged(shop, key, "queries", 100.0 - n) for n, key in enumerate(keys)]


def test_the_oldest_photos_over_the_budget_go(shop: Shop) -> None:
    keys, store = photos_of(shop, 10), shop.parts.store
    assert trim_photos(shop.parts.database, store, 10_000) == 0
    assert trim_photos(shop.parts.database, store, 6_500) == 4
    assert [store.exists(key, "queries") for key in keys] == [False] * 4 + [True] * 6


def test_a_photo_that_a_search_waits_for_stays(shop: Shop) -> None:
    shop.client.post("/v1/searches", **upload(catalogue="demo"))
    (waited,) = [file.name for file in shop.parts.store.files("queries")]
    aged(shop, waited, "queries", 1_000.0)
    others = photos_of(shop, 3)
    assert trim_photos(shop.parts.database, shop.parts.store, 0) == 3
    assert shop.parts.store.exists(waited, "queries")
    shop.answer_all()
    assert trim_photos(shop.parts.database, shop.parts.store, 0) == 1
    assert not any(shop.parts.store.exists(key, "queries") for key in others)


def test_a_photo_lives_as_long_as_its_last_answer(shop: Shop) -> None:
    shop.client.post("/v1/searches", **upload(catalogue="demo"))
    shop.answer_all()
    (key,) = [file.name for file in shop.parts.store.files("queries")]
    assert list(unused_query_images(shop.parts.database, [key], keep_s=3600.0)) == []
    assert list(unused_query_images(shop.parts.database, [key], keep_s=0.0)) == [key]
    assert shop.settings.search.query_image_ttl_s == shop.settings.search.result_ttl_s == 3600


def test_the_oldest_uploads_over_the_budget_go(shop: Shop) -> None:
    names = [f"{n:064x}-upload.csv" for n in range(4)]
    for n, name in enumerate(names):
        shop.parts.store.put_stream(name, [bytes(1_000)], "imports", 10_000)
        aged(shop, name, "imports", 8_000.0 - n)
    shop.parts.jobs.create_import("demo", {"archive": names[0]}, None, {})
    fresh = f"{9:064x}-upload.csv"
    shop.parts.store.put_stream(fresh, [bytes(1_000)], "imports", 10_000)
    assert trim_uploads(shop.parts.database, shop.parts.store, 3_000) == 2
    left = {file.name for file in shop.parts.store.files("imports")}
    assert left == {names[0], names[3], fresh}, "what a job reads, and what is too young to have one, stays"


@pytest.mark.slow
def test_below_the_low_water_mark_nothing_is_accepted(tmp_path: Path) -> None:
    shop = open_shop(tmp_path / "full", images={"min_free_bytes": 2**60})
    for path, body in (
        ("/v1/searches", upload(catalogue="demo")),
        ("/v1/searches", {"json": {"product_id": "chair-1", "catalogue": "demo"}}),
        ("/v1/catalogues/demo/imports", {"data": b"product_id\n", "content_type": "text/csv"}),
    ):
        answer = shop.client.post(path, **body)
        assert answer.status_code == 503, answer.json
        assert answer.json["error"]["code"] == "storage_unavailable"
        assert "MIN_FREE_BYTES" in answer.json["error"]["message"]
        assert int(answer.headers["Retry-After"]) > 0
    assert list(shop.parts.store.files("queries")) == []
    assert list(shop.parts.store.files("imports")) == []
    roomy = open_shop(tmp_path / "roomy", images={"min_free_bytes": 0})
    assert roomy.client.post("/v1/searches", **upload(catalogue="demo")).status_code == 202


def test_the_web_process_decodes_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("decoded in the web process")

    monkeypatch.setattr("PIL.Image.open", opened)
    photo = picture(size=(640, 480), format="PNG")
    monkeypatch.setattr("shared.images.decoding.open_picture", opened)
    answer = shop.client.post("/v1/searches", **upload(photo, catalogue="demo"))
    assert answer.status_code == 202
    shop.answer_all()
    assert shop.client.get(f"/s/{answer.json['id']}").status_code == 200
    assert shop.client.get(f"/v1/images/{'0' * 32}?size=320").status_code == 200
    put = {**upload(photo), "method": "PUT"}
    assert shop.client.open("/v1/catalogues/demo/products/chair-2", **put).status_code in (202, 400, 422)
