"""A search is announced while its photo is read, where no other is open; a worker looks out for it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shared.contracts import SearchOptions
from tests import builders
from tests.servers import PATIENCE_S
from tests.shop import Shop
from tests.web_builders import open_shop, upload
from worker import search_lane


def test_a_search_is_announced_only_where_no_other_is_open(tmp_path: Path) -> None:
    shop = open_shop(tmp_path)

    def search() -> None:
        assert shop.client.post("/v1/searches", **upload()).status_code == 202

    search()
    assert shop.bell.announced.acquire(timeout=PATIENCE_S)
    search()  # one waits
    claims = shop.desk().claim(2)
    search()  # two are being answered
    claims += shop.desk().claim(1)
    assert len(claims) == 3
    for claim in claims:
        shop.desk().fail(claim, "internal", "for the test")
    search()
    # Announced in turn: a word of the two between would come before this one's.
    assert shop.bell.announced.acquire(timeout=PATIENCE_S)
    assert not shop.bell.announced.acquire(blocking=False)
    assert [task for task, _ in shop.bell.rung] == ["search.answer"] * 4


def test_a_photo_that_cannot_be_read_was_announced_and_rings_nobody(tmp_path: Path) -> None:
    shop = open_shop(tmp_path)
    assert shop.client.post("/v1/searches", **upload(b"no photo")).status_code == 415
    assert shop.bell.announced.acquire(timeout=PATIENCE_S)
    assert shop.bell.rung == []


def test_a_worker_looks_out_for_a_search_that_was_announced(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    lane = shop.worker.search
    assert lane.answer_coming() == 0
    monkeypatch.setattr(search_lane, "_COMES_S", PATIENCE_S)
    looked = threading.Event()
    look = type(lane.desk).any_waits

    def noticed(desk: object) -> bool:
        found = look(desk)  # type: ignore[arg-type]
        looked.set()
        return found

    monkeypatch.setattr(type(lane.desk), "any_waits", noticed)
    key = shop.store.put(builders.jpeg(0), "queries")
    taken: list[int] = []
    worker = threading.Thread(target=lambda: taken.append(lane.answer_coming()))
    worker.start()
    assert looked.wait(PATIENCE_S)
    search = shop.searches.accept("shop", SearchOptions(catalogue="shop"), query_key=key, ttl_s=600).id
    worker.join(PATIENCE_S)
    assert taken == [1]
    assert shop.searches.status(search).state == "succeeded"
