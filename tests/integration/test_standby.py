"""A worker that stands by is called for a search, before it is there, and answers it without the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.contracts import SearchOptions
from shared.doorbell import Doorbell
from shared.standby import Call, Caller, Standby
from shared.task_names import TaskName
from tests import builders
from tests.servers import PATIENCE_S, RedisServer, wait_for
from tests.shop import Shop
from tests.web_builders import Bell, open_shop, upload
from tests.web_builders import Shop as WebShop
from web import searches
from worker import tasks
from worker.search import lane as search_lane

Calls = Iterator[Call | None]


def calls_of(standby: Standby, ended: threading.Event | None = None) -> Any:
    """Stand by until the test is over; the first yield, at which it is heard, is done."""
    calls = standby.calls(time.monotonic() + PATIENCE_S, (ended or threading.Event()).is_set)
    assert next(calls) is None
    return closing(calls)


def next_call(calls: Calls) -> Call | None:
    """Return the next call, None where it ends without one."""
    return next((call for call in calls if call is not None), None)


def asked(shop: WebShop) -> str:
    answer = shop.client.post("/v1/searches", **upload())
    assert answer.status_code == 202
    assert answer.json is not None
    return str(answer.json["id"])


def accepted(shop: Shop, search_id: str | None = None, key: str | None = None) -> str:
    key = key or shop.store.put(builders.jpeg(0), "queries")
    options = SearchOptions(catalogue="shop")
    return shop.searches.accept("shop", options, query_key=key, search_id=search_id, ttl_s=600).id


def test_of_those_who_stand_by_one_is_called_and_the_last_first(redis_server: RedisServer) -> None:
    caller, first, second = Caller(redis_server.url), Standby(redis_server.url), Standby(redis_server.url)
    assert not caller.call(Call("nobody stands by"))
    with calls_of(first) as ones, calls_of(second) as others:
        assert caller.call(Call("a", "photo"))
        assert caller.call(Call("b"))
        assert not caller.call(Call("both have one"))
        assert next_call(others) == Call("a", "photo")
        assert next_call(ones) == Call("b")
        assert next(ones) is None, "after each call a look, and the place is taken again"
        assert caller.call(Call("c"))
        assert next_call(ones) == Call("c")


def test_one_who_died_is_left_out(redis_server: RedisServer) -> None:
    caller, alive, dead = Caller(redis_server.url), Standby(redis_server.url), Standby(redis_server.url)
    with calls_of(alive) as calls, calls_of(dead):
        dead._line.connection.disconnect()
        assert caller.call(Call("a"))
        assert next_call(calls) == Call("a")
        assert not caller.call(Call("b"))


def test_who_has_left_is_not_called_and_who_is_leaving_hears_the_call(redis_server: RedisServer) -> None:
    caller, standby, ended = Caller(redis_server.url), Standby(redis_server.url), threading.Event()
    with calls_of(standby, ended) as calls:
        ended.set()
        assert list(calls) == [None], "the last is a look"
        assert not caller.call(Call("a"))
    ended.clear()
    with calls_of(standby, ended) as calls:
        standby._next, heard = (lambda _: None), standby._next  # type: ignore[method-assign]
        assert next(calls) is None
        assert caller.call(Call("b"))
        ended.set()
        standby._next = heard  # type: ignore[method-assign]
        assert list(calls) == [Call("b"), None]


def test_nobody_stands_by_while_rings_wait_in_the_queue(redis_server: RedisServer) -> None:
    caller, standby = Caller(redis_server.url), Standby(redis_server.url)
    bell = Doorbell(redis_server.url)
    assert bell.ring(TaskName.ANSWER_SEARCHES, "nobody stands by, and no worker takes it")
    until = time.monotonic() + PATIENCE_S
    assert list(standby.calls(until, lambda: False)) == [None], "one look"
    assert not caller.call(Call("a"))


def test_without_the_broker_there_is_a_last_look(redis_server: RedisServer) -> None:
    caller, standby = Caller(redis_server.url), Standby(redis_server.url)
    with calls_of(standby) as calls:
        redis_server.kill()
        assert next(calls) is None
        assert next(calls, "ended") == "ended"
    redis_server.start()
    with calls_of(standby) as calls:
        assert caller.call(Call("b"))
        assert next_call(calls) == Call("b")


def test_a_search_for_which_a_worker_was_called_is_not_rung_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "LOOK_OUT_S", PATIENCE_S)
    shop = open_shop(tmp_path, bell=Bell(stands_by=True))
    search = asked(shop)
    [(called, photo)] = shop.bell.called
    assert called == search
    assert shop.bell.rung == []
    assert shop.parts.store.exists(photo, "queries")
    again = shop.client.post("/v1/searches", json={"catalogue": "demo", "query_id": search})
    assert again.json is not None
    # What was seen in that photo is known, or will be.
    assert shop.bell.called[1] == (again.json["id"], "")


def test_a_search_that_was_committed_late_is_rung_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "LOOK_OUT_S", 0.0)
    shop = open_shop(tmp_path, bell=Bell(stands_by=True))
    assert [("search.answer", asked(shop))] == shop.bell.rung


def test_a_photo_that_cannot_be_read_calls_nobody(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, bell=Bell(stands_by=True))
    assert shop.client.post("/v1/searches", **upload(b"no photo")).status_code == 415
    assert (shop.bell.called, shop.bell.rung) == ([], [])


def test_those_who_wait_are_not_counted_where_a_worker_stood_by(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, bell=Bell(stands_by=True), search={"max_waiting": 2})
    for _ in range(3):
        asked(shop)
    shop.bell.stands_by = False
    asked(shop)
    assert shop.client.post("/v1/searches", **upload()).status_code == 429


def standing_by(shop: Shop, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> threading.Thread:
    """Let the shop's worker stand by, and return once it does; told to stop it ends."""
    monkeypatch.setattr(search_lane, "STANDBY_S", PATIENCE_S)
    object.__setattr__(shop.worker.search, "standby", Standby(redis_server.url))
    worker = threading.Thread(target=shop.worker.search.stand_by, daemon=True)
    worker.start()
    wait_for("it stands by", lambda: shop.worker.search.standby._waits or None, every_s=0.01)
    return worker


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    told = threading.Event()
    monkeypatch.setattr(search_lane.stopping, "told", told.is_set)
    yield told
    told.set()


def test_a_worker_decodes_the_photo_looks_out_for_the_search_and_answers_it(
    shop: Shop, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, told: threading.Event
) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    monkeypatch.setattr(search_lane, "LOOK_OUT_S", PATIENCE_S)
    worker = standing_by(shop, redis_server, monkeypatch)
    key, lane = shop.store.put(builders.jpeg(0), "queries"), shop.worker.search
    assert Caller(redis_server.url).call(Call("coming", key))
    wait_for("it is decoded", lambda: key in lane._photos._ahead or None, every_s=0.01)
    _, took_ms = lane._photos._ahead[key]
    accepted(shop, "coming", key)
    wait_for("it is answered", lambda: shop.searches.status("coming").state == "succeeded")
    result = shop.searches.status("coming").result
    assert result is not None
    assert result.timings_ms["decode"] >= round(took_ms, 2) > 0, "it counts as decoding, not as waiting"
    assert key not in lane._photos._ahead
    assert lane.standby.is_needed()
    told.set()
    worker.join(PATIENCE_S)
    assert not worker.is_alive()


def test_a_search_that_calls_nobody_is_found_by_who_stands_by(
    shop: Shop, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, told: threading.Event
) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    worker = standing_by(shop, redis_server, monkeypatch)
    search = accepted(shop)
    wait_for("it is answered", lambda: shop.searches.status(search).state == "succeeded")
    told.set()
    worker.join(PATIENCE_S)


def test_a_photo_that_is_gone_fails_its_search_and_not_the_worker(
    shop: Shop, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, told: threading.Event
) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    worker = standing_by(shop, redis_server, monkeypatch)
    accepted(shop, "without", "0" * 64)
    Caller(redis_server.url).call(Call("without", "0" * 64))
    wait_for("it fails", lambda: shop.searches.status("without").state == "failed")
    assert worker.is_alive()
    told.set()
    worker.join(PATIENCE_S)


def test_without_a_broker_a_ring_answers_what_waits(shop: Shop) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    search = accepted(shop)
    assert not shop.worker.search.standby.is_needed()
    assert shop.worker.search.stand_by(), "another search is likely"
    assert shop.searches.status(search).state == "succeeded"


def test_a_search_whose_time_to_be_announced_is_over_is_looked_for_once_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files({"p0.jpg": builders.jpeg(0)})
    lane, search = shop.worker.search, accepted(shop)
    monkeypatch.setattr(type(lane.desk), "is_known", lambda *_: False)  # as it was a moment before
    assert lane._answer_call(Call(search)) == 1


def test_a_broker_that_is_away_costs_a_search_one_try(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = Doorbell(redis_server.url, rest_s=PATIENCE_S)
    assert not bell.call("nobody stands by")
    assert bell.ring(TaskName.ANSWER_SEARCHES, "rung in the queue")
    tried: list[str] = []
    monkeypatch.setattr(bell._app, "send_task", lambda name, **_: tried.append(name))
    redis_server.kill()
    assert not bell.ring(TaskName.ANSWER_SEARCHES, "the call fails")
    assert tried == [], "the queue is not tried"
    redis_server.start()
    assert not bell.call("it rests")


@pytest.mark.parametrize("likely", [True, False])
def test_a_worker_rings_itself_while_more_searches_are_likely(
    monkeypatch: pytest.MonkeyPatch, likely: bool
) -> None:
    bell, lane = Bell(), SimpleNamespace(stand_by=lambda: likely)
    monkeypatch.setattr(tasks, "_process", SimpleNamespace(search=lane, doorbell=bell))
    tasks.answer_searches("search")
    assert bell.rung == ([("search.answer", "search")] if likely else [])
