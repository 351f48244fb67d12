"""Searches over HTTP: what is accepted, in which order it is kept, and what is refused."""

from __future__ import annotations

import io
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture

from shared.broker.task_names import TaskName
from shared.errors import DatabaseUnavailable, StorageUnavailable
from shared.retention.expiry import unused_query_images
from shared.searches.cursors import Cursor
from shared.searches.queue import StoredEmbeddings
from shared.searches.repository import SearchRepository
from shared.storage.image_store import ImageStore
from tests.servers import wait_for
from tests.web_builders import RecordingPublisher, Shop, open_shop, picture, result_of, upload


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path)


def test_a_photo_becomes_a_row_then_a_message_then_202(shop: Shop) -> None:
    answer = shop.client.post("/v1/searches", **upload(top_k=5, box="0.1,0.1,0.9,0.9", detect="false"))
    assert answer.status_code == 202
    assert answer.json["state"] == "queued"
    assert answer.headers["Location"] == f"/v1/tasks/{answer.json['id']}"
    assert answer.headers["Retry-After"] == "1"
    assert shop.publisher.published == [(TaskName.ANSWER_SEARCH, answer.json["id"])]
    [claim] = shop.desk().claim(10)
    assert (claim.options.top_k, claim.options.detect, claim.options.box) == (5, False, (0.1, 0.1, 0.9, 0.9))
    assert claim.query_key is not None
    assert shop.parts.store.exists(claim.query_key, "queries")


def test_the_answer_is_polled_under_the_same_id(shop: Shop) -> None:
    task_id = shop.client.post("/v1/searches", **upload()).json["id"]
    assert shop.client.get(f"/v1/tasks/{task_id}").headers["Retry-After"] == "1"
    assert shop.answer_all() == [task_id]
    done = shop.client.get(f"/v1/tasks/{task_id}").json
    assert done["state"] == "succeeded"
    assert done["result"]["objects"][0]["hits"][0]["product_id"] == "chair-1"


def test_prefer_wait_answers_200_with_the_result(shop: Shop) -> None:
    worker = threading.Thread(target=answer_when_there_is_one, args=(shop,), daemon=True)
    worker.start()
    answer = shop.client.post("/v1/searches", headers={"Prefer": "respond-async, wait=20"}, **upload())
    worker.join()
    assert (answer.status_code, answer.json["state"]) == (200, "succeeded")


def answer_when_there_is_one(shop: Shop) -> None:
    wait_for("a search to answer", shop.answer_all)


def test_waiting_never_takes_the_last_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.api.searches._MAX_WAIT_S", 60.0)
    shop = open_shop(tmp_path, web={"threads": 2})
    started = time.monotonic()
    answer = shop.client.post("/v1/searches", headers={"Prefer": "wait=60"}, **upload())
    assert answer.status_code == 202
    # The one figure of time here: not the minute that was asked for.
    assert time.monotonic() - started < 50


def test_by_product_and_by_an_earlier_photo(shop: Shop) -> None:
    first = shop.client.post("/v1/searches", **upload()).json["id"]
    assert shop.client.post("/v1/searches", json={"product_id": "chair-1"}).status_code == 202
    again = shop.client.post("/v1/searches", json={"query_id": first, "box": [0, 0, 0.5, 0.5]})
    assert again.status_code == 202
    by_id = {claim.id: claim for claim in shop.desk().claim(10)}
    assert by_id[again.json["id"]].query_key == by_id[first].query_key
    by_product = next(claim for claim in by_id.values() if claim.product_id == "chair-1")
    refused = shop.client.post("/v1/searches", json={"query_id": by_product.id})
    assert (refused.status_code, refused.json["error"]["field"]) == (422, "query_id")


def test_a_filter_that_cannot_be_read_is_shown_where(shop: Shop) -> None:
    answer = shop.client.post("/v1/searches", json={"product_id": "chair-1", "filter": "price < 5 adn 1"})
    assert (answer.status_code, answer.json["error"]["field"]) == (422, "filter")
    assert "character 11" in answer.json["error"]["message"]
    assert shop.parts.searches.count_waiting() == 0


def test_several_photos_of_one_thing(shop: Shop) -> None:
    def several(count: int) -> list[tuple[io.BytesIO, str]]:
        return [(io.BytesIO(picture(color=(40 * n, 0, 0))), f"{n}.jpg") for n in range(count)]

    accepted = shop.client.post("/v1/searches", data={"image": several(5)})
    assert accepted.status_code == 202
    [claim] = shop.desk().claim(1)
    assert len(set(claim.photos)) == 5
    assert set(unused_query_images(shop.parts.database, [*claim.photos, "other"])) == {"other"}
    refused = shop.client.post("/v1/searches", data={"image": several(6)})
    assert (refused.status_code, refused.json["error"]["field"]) == (422, "image")
    boxed = shop.client.post("/v1/searches", data={"image": several(2), "box": "0,0,1,1"})
    assert (boxed.status_code, boxed.json["error"]["field"]) == (422, "box")


def test_examples_are_products_of_the_catalogue(shop: Shop) -> None:
    assert shop.client.post("/v1/searches", json={"like": ["chair-1"]}).status_code == 202
    for examples in ({"like": ["gone"]}, {"product_id": "chair-1", "unlike": ["gone"]}):
        answer = shop.client.post("/v1/searches", json=examples)
        assert (answer.status_code, answer.json["error"]["code"]) == (404, "unknown_product")
    assert shop.client.post("/v1/searches", json={"unlike": ["chair-1"]}).status_code == 422


def test_a_page_is_of_a_search_and_has_its_options(shop: Shop) -> None:
    first = shop.client.post("/v1/searches", **upload(filter="price < 5", top_k=3)).json["id"]
    after = Cursor(first, 0, 4).text()
    early = shop.client.post("/v1/searches", json={"after": after})
    assert (early.status_code, early.json["error"]["field"]) == (422, "after")
    shop.answer_all()
    assert shop.client.post("/v1/searches", json={"after": after, "locale": "de"}).status_code == 202
    [claim] = shop.desk().claim(1)
    options = claim.options
    assert (options.filter, options.top_k, options.locale, options.after) == ("price < 5", 3, "de", after)
    other = shop.client.post("/v1/searches", json={"after": after, "filter": "price < 9"})
    assert (other.status_code, other.json["error"]["field"]) == (422, "filter")
    gone = shop.client.post("/v1/searches", json={"after": Cursor(str(uuid.uuid4()), 0, 4).text()})
    assert gone.json["error"]["code"] == "unknown_task"


def test_a_photo_that_is_gone_is_not_needed_where_its_embeddings_are_kept(shop: Shop) -> None:
    first = shop.client.post("/v1/searches", **upload()).json["id"]
    [claim] = shop.desk().claim(1)
    kept = StoredEmbeddings([{"kind": "whole", "detected": True}], bytes(8), 1)
    assert len(shop.desk().answer([(claim, result_of(claim))], {claim.id: kept})) == 1
    shop.parts.store.delete(claim.photos[0], "queries")
    assert (
        shop.client.post("/v1/searches", json={"query_id": first, "filter": "price < 5"}).status_code == 202
    )
    assert shop.desk().claim(1)[0].stored == kept
    # The control: nothing is kept of this one.
    second = shop.client.post("/v1/searches", **upload()).json["id"]
    shop.parts.store.delete(claim.photos[0], "queries")
    assert shop.client.post("/v1/searches", json={"query_id": second}).status_code == 410


def test_the_stored_photo_is_upright_and_carries_nothing_but_pixels(shop: Shop) -> None:
    exif = Picture.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    exif[0x010E] = "<script>secret place</script>"
    data = picture((80, 40), exif=exif) + b"<html>tail</html>"
    task_id = shop.client.post("/v1/searches", **upload(data)).json["id"]
    served = shop.client.get(f"/v1/searches/{task_id}/image")
    assert served.mimetype == "image/jpeg"
    assert b"script" not in served.data
    assert b"html" not in served.data
    with Picture.open(io.BytesIO(served.data)) as stored:
        assert stored.size == (40, 80)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"\x00", 415, "unsupported_format"),
        (b"just text, not a picture at all", 415, "unsupported_format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_format"),
        (b"%PDF-1.7 nothing", 415, "unsupported_format"),
        (picture((400, 300))[:600], 422, "undecodable_image"),
        (picture((17_000, 20)), 422, "image_too_large"),
        (b"", 422, "invalid_input"),
    ],
)
def test_what_is_no_photo_is_refused_and_nothing_is_kept(
    shop: Shop, data: bytes, status: int, code: str
) -> None:
    answer = shop.client.post("/v1/searches", **upload(data))
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert shop.parts.searches.count_waiting() == 0
    assert shop.publisher.published == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"top_k": 0}, "top_k"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 1_000_000_000}, "top_k"),
        ({"top_k": 500}, "top_k"),
        ({"top_k": "many"}, "top_k"),
        ({"min_score": "NaN"}, "min_score"),
        ({"box": "0,0,0,0"}, "box"),
        ({"box": "0,0,2,2"}, "box.2"),
        ({"colour": "red"}, "colour"),
        ({"filter": "price < "}, "filter"),
        ({"filter": "x" * 2001}, "filter"),
        ({"filter": 'key in ["a"]'}, "filter"),
        ({"filter": 'category == "a" || true'}, "filter"),
        ({"like": "chair-1," + "x" * 129}, "like.1"),
        ({"after": "abc"}, "after"),
        ({"catalogue": "x' or 1=1"}, "catalogue"),
    ],
)
def test_a_wrong_option_is_named(shop: Shop, fields: dict[str, Any], field: str) -> None:
    answer = shop.client.post("/v1/searches", **upload(**fields))
    assert (answer.status_code, answer.json["error"]["field"]) == (422, field)
    assert shop.parts.searches.count_waiting() == 0


def test_unknown_things_are_404(shop: Shop) -> None:
    assert shop.client.post("/v1/searches", **upload(catalogue="nowhere")).status_code == 404
    assert shop.client.post("/v1/searches", json={"product_id": "gone"}).status_code == 404
    for path in ("/v1/tasks/never", "/v1/searches/never/image"):
        assert shop.client.get(path).json["error"]["code"] == "unknown_task"


def test_an_expired_search_is_410(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop(tmp_path)
    task_id = shop.client.post("/v1/searches", **upload()).json["id"]
    later = time.time() + shop.settings.search.result_ttl_s + 1
    monkeypatch.setattr("shared.searches.repository.now_s", lambda: later)
    for path in (f"/v1/tasks/{task_id}", f"/v1/searches/{task_id}/image", f"/s/{task_id}"):
        assert shop.client.get(path).status_code == 410
    page = shop.client.get(f"/s/{task_id}", headers={"Accept": "text/html"})
    assert "This search has expired" in page.text


def test_cancel_keeps_a_late_answer_out(shop: Shop) -> None:
    task_id = shop.client.post("/v1/searches", **upload()).json["id"]
    assert shop.client.delete(f"/v1/tasks/{task_id}").json["state"] == "cancelled"
    assert shop.answer_all() == []
    assert shop.client.get(f"/v1/tasks/{task_id}").json["state"] == "cancelled"


def test_one_key_makes_one_search_from_many_threads(shop: Shop) -> None:
    """Row B25, with as many threads as a small machine runs at once."""
    answers = []

    def send() -> None:
        answer = shop.client.post("/v1/searches", headers={"Idempotency-Key": "order-66"}, **upload())
        while answer.status_code == 429:  # more threads than a web process has wait for its decoders
            answer = shop.client.post("/v1/searches", headers={"Idempotency-Key": "order-66"}, **upload())
        answers.append(answer)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.json for answer in answers if answer.status_code != 202] == []
    assert len({answer.json["id"] for answer in answers}) == 1
    assert shop.parts.searches.count_waiting() == 1
    assert len(shop.publisher.published) == 1
    other = shop.client.post(
        "/v1/searches", headers={"Idempotency-Key": "order-66"}, **upload(picture(color=(1, 2, 3)))
    )
    assert (other.status_code, other.json["error"]["code"]) == (409, "conflict")


def test_a_broker_that_is_away_does_not_lose_the_search(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, publisher=RecordingPublisher(works=False))
    answer = shop.client.post("/v1/searches", **upload())
    assert answer.status_code == 202
    assert shop.parts.searches.count_waiting() == 1


def test_a_full_disk_is_503_and_leaves_no_row(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ImageStore, data: bytes, kind: str = "images") -> str:
        raise StorageUnavailable("The disk is full.")

    monkeypatch.setattr(ImageStore, "put", full)
    answer = shop.client.post("/v1/searches", **upload())
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "storage_unavailable")
    assert answer.headers["Retry-After"]
    assert shop.parts.searches.count_waiting() == 0


def test_without_a_row_there_is_no_message_and_no_202(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("The database did not answer.")

    monkeypatch.setattr(SearchRepository, "accept", away)
    answer = shop.client.post("/v1/searches", **upload())
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "database_unavailable")
    assert shop.publisher.published == []


def test_too_many_waiting_searches_are_turned_away(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, search={"max_waiting": 2})
    assert [shop.client.post("/v1/searches", **upload()).status_code for _ in range(3)] == [202, 202, 429]
    answer = shop.client.post("/v1/searches", **upload())
    assert answer.json["error"]["code"] == "overloaded"
    assert int(answer.headers["Retry-After"]) > 0
    assert len(shop.publisher.published) == 2, "what was turned away woke no worker"
    shop.answer_all()
    assert shop.client.post("/v1/searches", **upload()).status_code == 202


def test_an_address_has_a_limit_and_cannot_lie_about_itself(tmp_path: Path) -> None:
    """Row B21: with Redis away the count goes on in memory, and forwarded headers are not believed."""
    shop = open_shop(tmp_path, web={"searches_per_minute": 3})
    seen = []
    for n in range(5):
        spoof = {"X-Forwarded-For": f"10.0.0.{n}", "Forwarded": f"for=10.0.0.{n}"}
        answer = shop.client.post("/v1/searches", headers=spoof, **upload())
        seen.append(answer.status_code)
    assert seen == [202, 202, 202, 429, 429]
    assert len(shop.publisher.published) == 3, "what was turned away woke no worker"
    assert answer.json["error"]["code"] == "overloaded"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert shop.client.get("/v1/catalogues").status_code == 200


def test_urls_are_off_unless_switched_on(tmp_path: Path) -> None:
    answer = open_shop(tmp_path / "off").client.post("/v1/searches", json={"image_url": "http://127.0.0.1/"})
    assert (answer.status_code, answer.json["error"]["field"]) == (422, "image_url")
    assert "URL import is off" in answer.json["error"]["message"]
    shop = open_shop(tmp_path / "on", web={"url_import": True})
    answer = shop.client.post("/v1/searches", json={"image_url": "http://127.0.0.1/x.jpg"})
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "refused")


@pytest.mark.parametrize("sources", [{}, {"product_id": "chair-1", "image_url": "http://example.com/"}])
def test_exactly_one_source(shop: Shop, sources: dict[str, str]) -> None:
    assert shop.client.post("/v1/searches", json=sources).status_code == 422


def test_a_search_has_a_page_of_its_own_from_start_to_end(shop: Shop) -> None:
    sent = shop.client.post("/s", headers={"Accept": "text/html"}, **upload(catalogue="demo", locale="de"))
    assert sent.status_code == 303
    waiting = shop.client.get(sent.headers["Location"]).text
    assert '<noscript><meta http-equiv="refresh" content="1"></noscript>' in waiting
    shop.answer_all()
    done = shop.client.get(sent.headers["Location"]).text
    assert "http-equiv" not in done
    assert "Oak chair" in done
    assert "<svg" in done
    assert shop.client.get(f"{sent.headers['Location']}/part").text in done
