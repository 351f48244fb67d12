"""A search is announced while it is still being read, and a worker looks out for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from shared.contracts import SearchOptions
from tests import builders
from tests.servers import PATIENCE_S, wait_for
from tests.shop import Shop
from tests.web_builders import Bell, open_shop, upload
from tests.web_builders import Shop as WebShop
from web import herald
from worker import search_lane


class AtOnce:
    """Stands for a thread that had its turn at once."""

    def submit(self, step: Callable[..., Any], *given: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(step(*given))
        return done


class Never:
    """Stands for a thread that has not had its turn yet."""

    def submit(self, step: Callable[..., Any], *given: Any) -> Future[Any]:
        return Future()


def asked(shop: WebShop) -> str:
    answer = shop.client.post("/v1/searches", **upload())
    assert answer.status_code == 202
    assert answer.json is not None
    return str(answer.json["id"])


def accepted(shop: Shop, search_id: str | None = None) -> str:
    key, options = shop.store.put(builders.jpeg(0), "queries"), SearchOptions(catalogue="shop")
    return shop.searches.accept("shop", options, query_key=key, search_id=search_id, ttl_s=600).id


def announcing(folder: Path, monkeypatch: pytest.MonkeyPatch, voice: type, bell: Bell) -> WebShop:
    monkeypatch.setattr(herald, "ThreadPoolExecutor", lambda *_, **__: voice())
    return open_shop(folder, bell=bell)


def test_a_search_that_a_worker_heard_of_is_not_rung_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(herald, "LOOK_OUT_S", PATIENCE_S)
    shop = announcing(tmp_path, monkeypatch, AtOnce, Bell(announces=True))
    search = asked(shop)
    assert shop.bell.announced.get_nowait() == search
    assert shop.bell.rung == []


@pytest.mark.parametrize(
    ("voice", "takes", "look_out_s"),
    [
        pytest.param(AtOnce, True, 0.0, id="the worker may look no longer"),
        pytest.param(AtOnce, False, PATIENCE_S, id="the broker did not take it"),
        pytest.param(Never, True, PATIENCE_S, id="it was not announced in time"),
    ],
)
def test_a_search_that_perhaps_nobody_heard_of_is_rung_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voice: type, takes: bool, look_out_s: float
) -> None:
    monkeypatch.setattr(herald, "LOOK_OUT_S", look_out_s)
    shop = announcing(tmp_path, monkeypatch, voice, Bell(announces=takes))
    assert [("search.answer", asked(shop))] == shop.bell.rung


def test_searches_that_follow_at_once_are_rung_for_and_not_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(herald, "LOOK_OUT_S", PATIENCE_S)
    shop = announcing(tmp_path, monkeypatch, AtOnce, Bell(announces=True))
    first, second, third = asked(shop), asked(shop), asked(shop)
    assert shop.bell.announced.get_nowait() == first
    assert shop.bell.announced.empty()
    assert shop.bell.rung == [("search.answer", second), ("search.answer", third)]


def test_a_photo_that_cannot_be_read_was_announced_and_is_no_search(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, bell=Bell(announces=True))
    assert shop.client.post("/v1/searches", **upload(b"no photo")).status_code == 415
    announced = shop.bell.announced.get(timeout=PATIENCE_S)
    assert shop.client.get(f"/v1/tasks/{announced}").status_code == 404
    assert shop.bell.rung == []


def test_a_worker_looks_out_for_a_search_that_was_announced(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    lane = shop.worker.search
    assert lane.answer_coming("0") == 0
    monkeypatch.setattr(search_lane, "LOOK_OUT_S", PATIENCE_S)
    looked = threading.Event()
    look = type(lane.desk).any_waits

    def noticed(desk: object) -> bool:
        found = look(desk)  # type: ignore[arg-type]
        looked.set()
        return found

    monkeypatch.setattr(type(lane.desk), "any_waits", noticed)
    taken: list[int] = []
    worker = threading.Thread(target=lambda: taken.append(lane.answer_coming("announced")))
    worker.start()
    assert looked.wait(PATIENCE_S)
    other = accepted(shop)
    wait_for("another is answered", lambda: shop.searches.status(other).state == "succeeded")
    assert not taken, "it looks out still"
    accepted(shop, "announced")
    worker.join(PATIENCE_S)
    assert taken == [2]
    assert shop.searches.status("announced").state == "succeeded"


def test_a_search_that_comes_between_two_looks_is_answered(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    lane = shop.worker.search
    search = accepted(shop)
    monkeypatch.setattr(type(lane.desk), "any_waits", lambda _: False)  # as it was a moment before
    assert lane.answer_coming(search) == 1
    assert shop.searches.status(search).state == "succeeded"


def test_a_worker_does_not_wait_for_one_that_was_answered_before(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    lane = shop.worker.search
    search = accepted(shop)
    assert lane.answer_waiting() == 1
    monkeypatch.setattr(search_lane, "LOOK_OUT_S", 10 * PATIENCE_S)  # it would wait too long for the test
    assert lane.answer_coming(search) == 0
