"""What the web says of itself and of the system, and what it refuses, when a dependency is in trouble."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from shared.broker.health import BrokerReport, BrokerState
from shared.database.tables import Job, Search
from tests.web_builders import Shop, open_shop, picture
from web.api.waiting import EXPLAIN_AFTER_S
from web.http import security

OK = BrokerReport(BrokerState.WRITABLE, "ok", True, 1, 2)
FULL = BrokerReport(
    BrokerState.REFUSING, "not writable, 512 of 512 MB used: raise maxmemory", False, 512, 512
)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    opened = open_shop(tmp_path)
    set_broker(opened, monkeypatch, OK)
    for role in ("search", "catalogue", "maintenance"):
        opened.parts.presence.write_heartbeat(f"{role}@here", role, {"index_problem": None})
    return opened


def set_broker(shop: Shop, monkeypatch: pytest.MonkeyPatch, report: BrokerReport) -> None:
    monkeypatch.setattr(shop.parts.broker, "report", lambda: report)


def rows(shop: Shop) -> tuple[int, ...]:
    with shop.parts.database.read() as session:
        return tuple(session.scalar(select(func.count()).select_from(t)) or 0 for t in (Search, Job))


def accepting_routes(shop: Shop) -> list[tuple[str, str]]:
    """Every route that makes a search or a job."""
    found = []
    for rule in shop.app.url_map.iter_rules():
        view = shop.app.view_functions[rule.endpoint]
        if hasattr(view, security._CREATES_WORK):
            path = rule.rule.replace("<catalogue>", "demo").replace("<product_id>", "chair-1")
            path = path.replace("<job_id>", "x").replace("<action>", "rebuild")
            found += [(method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    return found


def test_all_is_ready_where_nothing_is_wrong(shop: Shop) -> None:
    assert shop.client.get("/readyz").status_code == 200
    status = shop.client.get("/v1/status").json
    assert status["ready"], status["parts"]
    assert set(status["parts"].values()) == {"ok"}


def test_every_call_that_makes_work_is_refused_while_the_broker_is_full(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_broker(shop, monkeypatch, FULL)
    before = rows(shop)
    routes = accepting_routes(shop)
    assert len(routes) >= 20
    assert ("POST", "/v1/searches") in routes
    assert ("POST", "/s") in routes
    assert ("POST", "/manage/imports") in routes
    for method, path in routes:
        answer = shop.client.open(path, method=method, headers={"Accept": "application/json"})
        assert (answer.status_code, answer.json["error"]["code"]) == (503, "broker_unavailable"), path
        assert "512 of 512 MB" in answer.json["error"]["message"]
        assert int(answer.headers["Retry-After"]) > 0
    assert rows(shop) == before
    photos = [path for path in shop.settings.data_dir.rglob("queries/*/*") if path.is_file()]
    assert photos == []
    ready = shop.client.get("/readyz")
    assert (ready.status_code, ready.json["parts"]["broker"]) == (503, FULL.message)


def test_a_new_route_that_publishes_cannot_forget_the_guard(shop: Shop) -> None:
    """Whoever reaches the publisher is guarded: routes are found by what their modules call."""
    import inspect

    guarded = {path for _, path in accepting_routes(shop)}
    unguarded = {"/v1/jobs/x/resume", "/manage/jobs/x/rebuild"}  # the one ends a pause; the other asks itself
    for rule in shop.app.url_map.iter_rules():
        source = inspect.getsource(inspect.unwrap(shop.app.view_functions[rule.endpoint]))
        if any(call in source for call in ("job_answer(", "to_job(", "accept_search(", "ring(", "retried(")):
            path = rule.rule.replace("<catalogue>", "demo").replace("<product_id>", "chair-1")
            path = path.replace("<job_id>", "x").replace("<action>", "rebuild")
            assert path in guarded | unguarded, path


def test_a_worker_that_is_away_leaves_the_web_ready(shop: Shop) -> None:
    shop.parts.presence.remove("catalogue@here")
    assert shop.client.get("/readyz").status_code == 200
    status = shop.client.get("/v1/status").json
    assert not status["ready"]
    assert {part for part, state in status["parts"].items() if state != "ok"} == {"catalogue_worker"}


def test_milvus_and_a_missing_collection_are_named(shop: Shop) -> None:
    missing = [{"catalogue": "demo", "collection": "vitrine_1_v1"}]
    beat = shop.parts.presence.write_heartbeat
    beat("search@here", "search", {"index_problem": None, "missing_collections": missing})
    status = shop.client.get("/v1/status").json
    assert status["parts"]["collections"] == (
        "collection vitrine_1_v1 of catalogue demo is missing: vitrine rebuild demo"
    )
    assert status["missing_collections"][0]["command"] == "vitrine rebuild demo"
    assert 'vitrine_collection_missing{catalogue="demo"} 1.0' in shop.client.get("/metrics").text
    for role in ("search", "catalogue"):
        beat(f"{role}@here", role, {"index_problem": "Milvus not answering: timeout"})
    status = shop.client.get("/v1/status").json
    assert status["parts"]["index"] == "Milvus not answering: timeout"
    assert status["parts"]["collections"] == "ok"
    assert "vitrine_collection_missing{" not in shop.client.get("/metrics").text


def test_who_waits_for_long_is_told_why(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = shop.client.post("/v1/searches", data={"image": (picture_file(), "a.jpg"), "catalogue": "demo"})
    task_id = sent.json["id"]
    assert shop.client.get(f"/v1/tasks/{task_id}").json["waiting_for"] is None
    assert shop.client.get(f"/s/{task_id}/part").text == "queued"
    age(shop, task_id)
    assert shop.client.get(f"/v1/tasks/{task_id}").json["waiting_for"]["code"] == "unavailable"
    page = shop.client.get(f"/s/{task_id}", headers={"Accept": "text/html"}).text
    words = "This is taking longer than usual: part of the search is restarting."
    assert words in page
    assert shop.client.get(f"/s/{task_id}/part").text.startswith(f"queued\n{words}")
    german = shop.client.get(f"/s/{task_id}/part", headers={"Accept-Language": "de"})
    assert "Ihre Suche geht von selbst weiter" in german.text
    set_broker(shop, monkeypatch, FULL)
    shop.app.extensions.pop("vitrine-waits")
    found = shop.client.get(f"/v1/tasks/{task_id}").json["waiting_for"]
    assert (found["code"], "512 of 512 MB" in found["message"]) == ("broker_unavailable", True)
    shop.client.delete(f"/v1/tasks/{task_id}")
    assert shop.client.get(f"/v1/tasks/{task_id}").json["waiting_for"] is None


def picture_file() -> object:
    import io

    return io.BytesIO(picture())


def age(shop: Shop, task_id: str) -> None:
    old = time.time() - 2 * EXPLAIN_AFTER_S
    with shop.parts.database.write() as session:
        session.execute(update(Search).where(Search.id == task_id).values(created_at=old))
