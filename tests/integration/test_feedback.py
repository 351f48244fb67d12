"""Feedback: only where it is allowed, only about real hits, once; its photos outlive searches, and go too."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update
from werkzeug.serving import make_server

from cli.commands.feedback import select_right_answers
from cli.commands.golden import read_golden_set
from cli.main import app
from shared.contracts.feedback import FeedbackIn, FeedbackOut
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Feedback, Process, Search
from shared.errors import Conflict, Refused
from shared.process.log import configure_logging
from shared.searches.feedback import MAX_FEEDBACK_PER_SEARCH, PHOTOS, CheckedFeedback, FeedbackRepository
from tests.web_builders import Shop, open_shop, upload
from vitrine_client import Vitrine
from worker.maintenance.sweeper import build_sweeper

NO_QUERY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path / "shop", feedback={"enabled": True}, search={"query_image_ttl_s": 60})


def answered(shop: Shop) -> str:
    """A search whose answer has the one product in its object and in the whole image's group."""
    query = shop.client.post("/v1/searches", **upload(catalogue="demo")).json["id"]
    shop.answer_all()
    return str(query)


def say(shop: Shop, query: str, **more: Any) -> tuple[int, dict[str, Any]]:
    body = {"query_id": query, "product_id": "chair-1", "kind": "right", **more}
    answer = shop.client.post("/v1/feedback", json=body)
    return answer.status_code, answer.json


def rows(shop: Shop) -> list[Feedback]:
    with shop.parts.database.read() as session:
        return list(session.scalars(select(Feedback)))


def test_it_is_off_until_the_operator_allows_it(tmp_path: Path) -> None:
    closed = open_shop(tmp_path / "closed")
    status, body = say(closed, answered(closed))
    assert (status, body["error"]["code"]) == (403, "refused")
    assert "VITRINE_FEEDBACK__ENABLED" in body["error"]["message"]
    assert rows(closed) == []
    assert not list(closed.parts.store.older_than(PHOTOS, -1)), "no photo is kept either"


def test_said_twice_is_kept_once(shop: Shop) -> None:
    query = answered(shop)
    status, first = say(shop, query, object=0)
    assert status == 201
    assert first == first | {
        "query_id": query, "product_id": "chair-1", "kind": "right", "object": 0, "rank": 1, "score": 0.91,
        "box": [0.1, 0.1, 0.6, 0.8], "photo": True,
    }  # fmt: skip
    assert say(shop, query, object=0) == (200, first)
    assert say(shop, query)[0] == 201, "the whole image is another group"
    assert say(shop, query, object=0, kind="click")[0] == 201
    assert say(shop, query, object=0, kind="not_this")[1]["photo"] is False
    assert len(rows(shop)) == 4


def test_nothing_personal_is_kept(shop: Shop) -> None:
    query = answered(shop)
    body = {"query_id": query, "product_id": "chair-1", "kind": "click"}
    agent = {"User-Agent": "a telling agent", "X-Forwarded-For": "203.0.113.7", "Cookie": "session=secret"}
    assert shop.client.post("/v1/feedback", json=body, headers=agent).status_code == 201
    names = {column.name for column in Feedback.__table__.columns}
    assert names == {
        "id", "catalogue_id", "search_id", "object_number", "product_id", "kind", "rank", "score", "photo",
        "box", "key", "created_at",
    }  # fmt: skip
    (row,) = rows(shop)
    text = " ".join(str(getattr(row, name)) for name in names)
    assert not any(secret in text for secret in ("telling", "203.0.113.7", "127.0.0.1", "secret"))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"product_id": "table-9"}, 422),
        ({"object": 1}, 422),
        ({"object": -1}, 422),
        ({"kind": "bought"}, 422),
        ({"query_id": NO_QUERY}, 404),
        ({"query_id": "x"}, 422),
        ({"person": "me"}, 422),
    ],
)
def test_what_no_answer_has_is_refused(shop: Shop, body: dict[str, Any], status: int) -> None:
    query = answered(shop)
    assert say(shop, body.pop("query_id", query), **body)[0] == status
    assert rows(shop) == []


def test_searches_that_are_not_answered_or_over_are_refused(shop: Shop) -> None:
    waiting = shop.client.post("/v1/searches", **upload(catalogue="demo")).json["id"]
    assert say(shop, waiting)[0] == 409
    query = answered(shop)
    with shop.parts.database.write() as session:
        session.execute(update(Search).where(Search.id == query).values(expires_at=0.0))
    assert say(shop, query)[0] == 410


def test_so_much_of_one_search_and_no_more(shop: Shop) -> None:
    query = answered(shop)
    assert say(shop, query)[0] == 201
    with shop.parts.database.write() as session:
        for n in range(MAX_FEEDBACK_PER_SEARCH - 1):
            session.add(
                Feedback(
                    catalogue_id=1, search_id=query, product_id=f"p{n}", kind="click", rank=1, score=1.0,
                    key=str(n), created_at=now_s(),
                )
            )  # fmt: skip
    assert say(shop, query, kind="click")[0] == 409
    assert say(shop, query)[0] == 200, "what is known already may be said again"
    with pytest.raises(Conflict):
        FeedbackRepository(shop.parts.database).check(
            FeedbackIn(query_id=query, product_id="chair-1", kind="not_this")
        )


def test_two_at_the_same_moment_make_one_row(database: Database) -> None:
    with database.write() as session:
        session.add(Catalogue(name="shop", currency="EUR", created_at=now_s()))
    feedback = CheckedFeedback(
        FeedbackIn(query_id=NO_QUERY, product_id="p", kind="click"), 1, 1, 0.9, None, None
    )
    ledger, found = FeedbackRepository(database), []
    barrier = threading.Barrier(4)

    def add() -> None:
        barrier.wait()
        found.append(ledger.add(feedback, None))

    threads = [threading.Thread(target=add, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new for _, new in found) == [False, False, False, True]
    assert len({kept.id for kept, _ in found}) == 1


def test_its_photo_outlives_the_search_and_goes_with_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    query, other = answered(shop), answered(shop)
    kept = say(shop, query)[1]
    say(shop, other, kind="not_this")
    store = shop.parts.store
    ages = {"queries": 0.0, PHOTOS: 0.0}
    original = type(store).older_than
    monkeypatch.setattr(
        type(store),
        "older_than",
        lambda self, kind, age_s, *more: original(self, kind, -1.0 if ages.get(kind) else age_s, *more),
    )
    sweeper = build_sweeper(shop.settings)
    ages["queries"] = ages[PHOTOS] = 1.0  # everything is old by now
    with shop.parts.database.write() as session:
        session.execute(update(Search).values(created_at=0.0))
    sweeper.housekeeper.run()
    assert not list(store.older_than("queries", -1)), "the photos of searches are gone"
    photo = shop.client.get(f"/v1/feedback/{kept['id']}/photo")
    assert (photo.status_code, photo.mimetype) == (200, "image/jpeg")
    with shop.parts.database.write() as session:
        session.execute(update(Feedback).values(created_at=0.0))
    shop.parts.presence.write_heartbeat("here", "web", {})
    shop.parts.presence.write_heartbeat("gone", "web", {})
    with shop.parts.database.write() as session:
        session.execute(update(Process).where(Process.name == "gone").values(seen_at=0.0))
    sweeper.housekeeper.run()
    with shop.parts.database.read() as session:
        assert list(session.scalars(select(Process.name))) == ["here"], "so do the rows of dead processes"
    assert rows(shop) == []
    assert not list(store.older_than(PHOTOS, -1))
    assert shop.client.get(f"/v1/feedback/{kept['id']}/photo").status_code == 404
    sweeper.database.close()


def test_pages_and_csv(shop: Shop) -> None:
    for kind in ("click", "right", "not_this"):
        say(shop, answered(shop), kind=kind)
    place = "/v1/catalogues/demo/feedback"
    first = shop.client.get(f"{place}?limit=2").json
    rest = shop.client.get(f"{place}?limit=2&after={first[-1]['id']}").json
    assert [f["kind"] for f in [*first, *rest]] == ["click", "right", "not_this"]
    table = list(csv.reader(io.StringIO(shop.client.get(f"{place}.csv").text)))
    assert table[0][:5] == ["id", "query_id", "object", "product_id", "kind"]
    assert [row[4] for row in table[1:]] == ["click", "right", "not_this"]
    for query in ("limit=0", "limit=x", "after=-1"):
        assert shop.client.get(f"{place}?{query}").status_code == 422
    assert shop.client.get("/v1/catalogues/none/feedback.csv").status_code == 404


@pytest.fixture
def served(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    configure_logging("ERROR", "text", "web")
    server = make_server("127.0.0.1", 0, shop.app, threaded=True)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("VITRINE_URL", address)
    yield address
    server.shutdown()
    serving.join()
    server.server_close()


def test_it_is_exported_as_golden_queries(shop: Shop, served: str, tmp_path: Path) -> None:
    def vitrine(*words: str) -> str:
        ran = CliRunner().invoke(app, [*words], standalone_mode=False, catch_exceptions=False)
        return ran.stdout

    with Vitrine(served) as client:
        right, clicked, wrong = answered(shop), answered(shop), answered(shop)
        client.say(right, "chair-1", "right", object=0)
        client.say(right, "chair-1", "right")
        client.say(clicked, "chair-1", "click", object=0)
        client.say(wrong, "chair-1", "click")
        client.say(wrong, "chair-1", "not_this")
        assert len(list(client.feedback("demo"))) == 5
    folder = tmp_path / "labelled"
    told = json.loads(vitrine("feedback", "export", "demo", "--to", str(folder), "--json"))
    assert (told["photos"], told["objects"]) == (1, 2)
    told = json.loads(vitrine("feedback", "export", "demo", "--to", str(folder), "--clicks", "--json"))
    assert (told["photos"], told["objects"]) == (2, 3)
    # What `vitrine golden import` and `vitrine evaluate` read.
    found = [(photo.name, product, box) for photo, product, box in read_golden_set(folder)]
    assert {product for _, product, _ in found} == {"chair-1"}
    assert found[0][2] == pytest.approx((0.1, 0.1, 0.6, 0.8), abs=0.01)
    assert all((folder / "benchmark" / name).read_bytes()[:2] == b"\xff\xd8" for name, _, _ in found)
    rows_ = [json.loads(line) for line in (folder / "benchmark.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows_] == ["multi", "view"]
    assert vitrine("feedback", "export", "demo", "--csv").count("\n") == 6
    assert "chair-1" in vitrine("feedback", "list", "demo")


def test_one_answer_for_each_object() -> None:
    def given(number: int, kind: str, product: str, photo: bool = True) -> FeedbackOut:
        return FeedbackOut.model_validate(
            {
                "id": number, "query_id": NO_QUERY, "product_id": product, "kind": kind, "object": 0,
                "rank": 1, "score": 0.5, "box": None, "photo": photo, "created_at": "2026-01-01T00:00:00Z",
            }
        )  # fmt: skip

    both = {"right", "click"}
    assert [f.id for f in select_right_answers([given(1, "right", "a"), given(2, "click", "b")], both)] == [1]
    assert [f.id for f in select_right_answers([given(1, "click", "a"), given(2, "click", "b")], both)] == [2]
    assert [f.id for f in select_right_answers([given(1, "right", "a"), given(2, "right", "b")], both)] == [2]
    assert select_right_answers([given(1, "click", "a"), given(2, "not_this", "a")], both) == []
    assert select_right_answers([given(1, "right", "a", photo=False)], both) == []


def test_a_closed_server_is_said_by_the_client(tmp_path: Path) -> None:
    closed = open_shop(tmp_path / "closed")
    server = make_server("127.0.0.1", 0, closed.app, threaded=True)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    with Vitrine(f"http://127.0.0.1:{server.server_port}") as client, pytest.raises(Refused, match="ENABLED"):
        client.say(NO_QUERY, "chair-1", "click")
    server.shutdown()
    serving.join()
    server.server_close()
