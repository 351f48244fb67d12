"""Jobs over HTTP: actions, streams of events, failures as CSV; and webhooks as they are managed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from shared.jobs.plan import write_plan
from shared.jobs.queue import JobQueue
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem
from tests.web_builders import Shop, open_shop, upload
from web.api.events import _event

ZIP = {"Content-Type": "application/zip"}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, web={"event_streams": 2}, jobs={"keep_import_s": 3600.0})


def desk_of(shop: Shop) -> JobQueue:
    return JobQueue(shop.parts.database, "tester", 60.0, 4, 4)


def taken(desk: JobQueue) -> ChunkClaim:
    claim = desk.claim()
    assert claim is not None
    return claim


def planned(shop: Shop, count: int = 4) -> tuple[str, JobQueue]:
    answer = shop.client.post("/v1/catalogues/demo/imports", data=b"PK...", headers=ZIP)
    assert answer.status_code == 202, answer.json
    desk = desk_of(shop)
    claim = taken(desk)
    items = [Item(n, n, f"p{n}", {}, 0) for n in range(1, count + 1)]
    write_plan(desk, shop.parts.database, claim, items, 64)
    desk.finish(claim)
    return str(answer.json["id"]), desk


def failed(shop: Shop) -> str:
    """A job whose second product failed, for a reason that a stranger worded."""
    job, desk = planned(shop)
    claim = taken(desk)
    with shop.parts.database.write() as session:
        bad = Problem(2, "p2", '=HYPERLINK("http://evil.example")', "missing_image", "no, there is\nnone")
        outcomes = [Outcome(i, "failed" if i.number == 2 else "new") for i in desk.items(claim)]
        outcomes[1] = Outcome(outcomes[1].item, "failed", problems=[bad])
        desk.record(session, claim, outcomes)
    desk.finish(claim)
    return job


def act(shop: Shop, job: str, what: str, **body: Any) -> TestResponse:
    return shop.client.post(f"/v1/jobs/{job}/{what}", json=body)


def events(answer: TestResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a stream as they come; comments are left out."""
    text = ""
    for piece in answer.iter_encoded():
        text += piece.decode()
        while "\n\n" in text:
            event, _, text = text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in event.split("\n") if not line.startswith(":"))
            if fields:
                yield fields["event"], json.loads(fields["data"])


def test_a_job_is_paused_resumed_and_cancelled(shop: Shop) -> None:
    job, _ = planned(shop)
    shop.publisher.published.clear()
    assert act(shop, job, "pause").json["state"] == "paused"
    assert shop.publisher.published == []
    resumed = act(shop, job, "resume")
    assert (resumed.status_code, resumed.json["state"]) == (200, "running")
    assert [row.partition(":")[0] for _, row in shop.publisher.published] == [job]
    assert act(shop, job, "cancel").json["state"] == "cancelled"
    for what in ("pause", "resume"):
        refused = act(shop, job, what)
        assert (refused.status_code, refused.json["error"]["code"]) == (409, "conflict")
        assert "retry" in refused.json["error"]["message"]
    for what in ("pause", "resume", "cancel", "retry"):
        assert act(shop, "nothing", what).status_code == 404


def test_a_retry_is_a_job_of_its_own(shop: Shop) -> None:
    job = failed(shop)
    shop.publisher.published.clear()
    answer = act(shop, job, "retry", reason="missing_image")
    assert (answer.status_code, answer.json["retry_of"], answer.json["total"]) == (202, job, 1)
    assert answer.headers["Location"].endswith(answer.json["id"])
    assert [row.partition(":")[0] for _, row in shop.publisher.published] == [answer.json["id"]]
    assert act(shop, job, "retry", reason="other").status_code == 409
    assert act(shop, job, "retry", whatever=1).status_code == 422
    assert act(shop, answer.json["id"], "retry").status_code == 409, "it has not ended"
    assert shop.client.post(f"/v1/jobs/{job}/retry").status_code == 202, "a body is not needed"


def test_a_retry_whose_upload_is_gone_says_so(shop: Shop) -> None:
    job = failed(shop)
    archive = shop.parts.jobs.archive(job)
    assert archive is not None
    shop.parts.store.delete(archive, "imports")
    answer = act(shop, job, "retry")
    assert (answer.status_code, answer.json["error"]["code"]) == (410, "expired")
    assert "Import the products again" in answer.json["error"]["message"]


def test_failures_by_reason_and_as_a_file_that_no_spreadsheet_runs(shop: Shop) -> None:
    job = failed(shop)
    page = shop.client.get(f"/v1/jobs/{job}/failures?reason=missing_image").json
    assert (len(page["failures"]), page["reasons"]) == (1, {"missing_image": 1})
    assert shop.client.get(f"/v1/jobs/{job}/failures?reason=other").json["failures"] == []
    answer = shop.client.get(f"/v1/jobs/{job}/failures.csv")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert list(csv.reader(io.StringIO(answer.text, newline=""))) == [
        ["row", "product_id", "image", "reason", "message"],
        ["2", "p2", '\'=HYPERLINK("http://evil.example")', "missing_image", "no, there is\nnone"],
    ]
    other = shop.client.get(f"/v1/jobs/{job}/failures.csv?reason=other")
    assert other.text == "row,product_id,image,reason,message\r\n"
    assert shop.client.get("/v1/jobs/nothing/failures.csv").status_code == 404


def test_a_stream_tells_progress_and_states_until_the_end(shop: Shop) -> None:
    job, desk = planned(shop)
    answer = shop.client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "999 nonsense"})
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    told = events(answer)
    kind, first = next(told)
    assert (kind, first["id"], first["state"]) == ("state", job, "running")
    claim = taken(desk)
    items = desk.items(claim)
    with shop.parts.database.write() as session:
        desk.record(session, claim, [Outcome(i, "new") for i in items[:2]])
    kind, now = next(told)
    assert (kind, now["done"], now["total"]) == ("progress", 2, 4)
    act(shop, job, "pause")
    assert next(told)[1]["state"] == "paused"
    act(shop, job, "cancel")
    kind, last = next(told)
    assert (kind, last["state"]) == ("state", "cancelled")
    assert list(told) == []


def test_an_event_is_one_line_to_readers_of_any_kind() -> None:
    """httpx takes U+2028 and U+0085 for the end of a line, and they may be in what a job tells."""
    said = {"state": "failed", "error": "a\u2028b\x85c"}
    _, _, line, *rest = _event("state", 1, said, "").splitlines()
    assert json.loads(line.removeprefix("data: ")) == said
    assert rest == [""]


def test_a_stream_of_what_has_ended_is_one_event(shop: Shop) -> None:
    job = failed(shop)
    assert [kind for kind, _ in events(shop.client.get(f"/v1/jobs/{job}/events"))] == ["state"]
    task = shop.client.post("/v1/searches", **upload()).json["id"]
    shop.answer_all()
    ((kind, state),) = events(shop.client.get(f"/v1/tasks/{task}/events"))
    assert (kind, state["state"]) == ("state", "succeeded")
    assert state == shop.client.get(f"/v1/tasks/{task}").json
    for path in ("/v1/jobs/nothing/events", "/v1/tasks/nothing/events"):
        assert shop.client.get(path).status_code == 404


def test_streams_are_bounded_and_a_closed_one_makes_room(shop: Shop) -> None:
    job, _ = planned(shop)
    path = f"/v1/jobs/{job}/events"
    open_ones = [shop.client.get(path) for _ in range(2)]
    refused = shop.client.get(path)
    assert (refused.status_code, refused.json["error"]["code"]) == (503, "unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    open_ones[0].close()  # one that was never read
    again = shop.client.get(path)
    assert again.status_code == 200
    next(iter(events(again)))
    for each in (again, open_ones[1]):
        each.close()
    assert shop.parts.streams.acquire(blocking=False)
    assert shop.parts.streams.acquire(blocking=False)


def test_streams_leave_threads_for_everybody_else(tmp_path: Path) -> None:
    """More streams are allowed than there are threads to spare: those decide."""
    shop = open_shop(tmp_path, web={"event_streams": 100, "threads": 4})
    job, _ = planned(shop)
    answers = [shop.client.get(f"/v1/jobs/{job}/events") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    for answer in answers:
        answer.close()


def test_a_server_that_stops_ends_its_streams(shop: Shop) -> None:
    job, _ = planned(shop)
    shop.app.extensions["vitrine_serving"] = lambda: False
    assert [state["state"] for _, state in events(shop.client.get(f"/v1/jobs/{job}/events"))] == ["running"]


def test_webhooks_are_added_listed_tested_and_removed(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, webhooks={"allow_private": True})
    wanted = {"url": "http://127.0.0.1:9/hook", "events": ["job.failed"], "catalogue": "demo"}
    made = shop.client.post("/v1/webhooks", json=wanted)
    assert made.status_code == 201
    assert made.json["secret"].startswith("whsec_")
    listed = shop.client.get("/v1/webhooks")
    assert [w["id"] for w in listed.json] == [made.json["id"]]
    assert made.json["secret"] not in listed.text
    path = f"/v1/webhooks/{made.json['id']}"
    tried = shop.client.post(f"{path}/test", json={})
    assert (tried.status_code, tried.json["event"], tried.json["state"]) == (202, "webhook.test", "waiting")
    assert [d["id"] for d in shop.client.get(f"{path}/deliveries").json] == [tried.json["id"]]
    assert shop.client.get(f"{path}/deliveries?limit=0").status_code == 422
    assert shop.client.delete(path).status_code == 204
    assert shop.client.delete(path).json["error"]["code"] == "unknown_webhook"
    for bad in (
        {"url": "http://127.0.0.1:9/", "events": ["job.exploded"]},
        {"url": "ftp://127.0.0.1/"},
        {"url": "http://user:pass@127.0.0.1/"},
        {"url": ""},
        {},
    ):
        assert shop.client.post("/v1/webhooks", json=bad).status_code == 422, bad
    assert shop.client.post("/v1/webhooks", json={**wanted, "catalogue": "nothing"}).status_code == 404


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "169.254.169.254", "2130706433", "0", "127.1"]
)
def test_a_webhook_into_this_network_needs_a_setting(shop: Shop, host: str) -> None:
    answer = shop.client.post("/v1/webhooks", json={"url": f"http://{host}/hook"})
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "refused")
    assert "VITRINE_WEBHOOKS__ALLOW_PRIVATE" in answer.json["error"]["message"]
