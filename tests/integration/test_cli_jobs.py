"""`vitrine jobs` and `vitrine webhooks` against a real web application; the test does the work."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.client import VitrineClient
from cli.main import app
from cli.output import ExitCode
from shared.database.tables import Job
from shared.errors import Conflict, Unavailable
from shared.jobs.close import add_problems
from shared.jobs.plan import write_plan
from shared.jobs.queue import JobQueue
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem
from tests.servers import wait_for
from tests.web_builders import Shop, open_shop, serving
from worker.maintenance.webhook_sender import WebhookSender

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    opened = open_shop(tmp_path, webhooks={"allow_private": True}, web={"event_streams": 2})
    with serving(opened) as address:
        monkeypatch.setenv("VITRINE_URL", address)
        yield opened


def vitrine(*words: str) -> Result:
    return CliRunner().invoke(app, [*words], standalone_mode=False, catch_exceptions=False)


def document(*words: str) -> Any:
    return json.loads(vitrine(*words, "--json").stdout)


class Work:
    """A job of four products, which a test does step by step."""

    def __init__(self, shop: Shop) -> None:
        self.database = shop.parts.database
        self.desk = JobQueue(self.database, "tester", 60.0, 4, 4)
        self.job = shop.parts.jobs.create_import("demo", {"path": "somewhere"}).id
        claim = self.take()
        items = [Item(n, n, f"p{n}", {}, 0) for n in range(1, 5)]
        write_plan(self.desk, self.database, claim, items, 64)
        self.desk.finish(claim)

    def take(self) -> ChunkClaim:
        claim = self.desk.claim()
        assert claim is not None
        return claim

    def do_all(self, bad: bool = False) -> None:
        claim = self.take()
        problem = Problem(2, "p2", "=gone.jpg", "missing_image", "There is no such picture.")
        with self.database.write() as session:
            outcomes = [Outcome(item, "new") for item in self.desk.items(claim)]
            if bad:
                outcomes[1] = Outcome(outcomes[1].item, "failed", problems=[problem])
            self.desk.record(session, claim, outcomes)
        self.desk.finish(claim)


def test_a_job_is_watched_to_its_end(shop: Shop) -> None:
    work = Work(shop)
    watched: list[Result] = []
    watching = threading.Thread(
        target=lambda: watched.append(vitrine("jobs", "watch", work.job, "--json")), daemon=True
    )
    watching.start()
    # One stream is taken: the command listens and does not poll.
    wait_for("it listens", lambda: taken_streams(shop) == 1)
    work.do_all(bad=True)
    watching.join()
    assert watched[0].return_value == ExitCode.PARTIAL
    job = json.loads(watched[0].stdout)
    assert (job["state"], job["counts"]["new"], job["counts"]["failed"]) == ("succeeded", 3, 1)
    wait_for("its stream is closed", lambda: taken_streams(shop) == 0)


def taken_streams(shop: Shop) -> int:
    return 2 - shop.parts.streams._value


def test_a_watch_polls_where_it_cannot_listen(shop: Shop) -> None:
    work = Work(shop)
    for _ in range(2):
        assert shop.parts.streams.acquire(blocking=False)
    with (
        VitrineClient(os.environ["VITRINE_URL"]) as client,
        pytest.raises(Unavailable, match="Too many event streams"),
    ):
        next(client.job_events(work.job))
    work.do_all()
    shown = vitrine("jobs", "watch", work.job)
    assert shown.return_value == ExitCode.OK
    assert "succeeded: 4 new" in shown.stderr


def test_a_job_is_paused_resumed_cancelled_and_retried(shop: Shop) -> None:
    work = Work(shop)
    assert document("jobs", "pause", work.job)["state"] == "paused"
    assert "paused" in vitrine("jobs", "list").stdout
    assert vitrine("jobs", "show", work.job).return_value == ExitCode.OK
    assert document("jobs", "resume", work.job)["state"] == "running"
    work.do_all(bad=True)
    with pytest.raises(Conflict, match="retry it to repeat its failures"):
        vitrine("jobs", "pause", work.job)
    retried = document("jobs", "retry", work.job, "--reason", "missing_image")
    assert (retried["retry_of"], retried["total"]) == (work.job, 1)
    assert "vitrine jobs watch" in vitrine("jobs", "retry", work.job).stderr
    cancelled = vitrine("jobs", "cancel", retried["id"])
    assert "cancelled: 0 new" in cancelled.stderr
    assert vitrine("jobs", "show", retried["id"], "--wait").return_value == ExitCode.ERROR


def test_failures_in_three_forms(shop: Shop) -> None:
    work = Work(shop)
    work.do_all(bad=True)
    (failure,) = document("jobs", "failures", work.job)
    assert failure["reason"] == "missing_image"
    shown = vitrine("jobs", "failures", work.job)
    assert "row 2 p2 =gone.jpg: missing_image: There is no such picture." in shown.stdout
    assert "missing_image: 1" in shown.stderr
    rows = list(csv.DictReader(io.StringIO(vitrine("jobs", "failures", work.job, "--csv").stdout)))
    assert [(row["row"], row["image"]) for row in rows] == [("2", "'=gone.jpg")]
    assert document("jobs", "failures", work.job, "--reason", "other") == []


def test_of_a_million_failures_only_those_that_are_shown_are_fetched(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Work(shop).job
    with shop.parts.database.write() as session:
        problems = [Problem(n, f"p{n}", None, "missing_image", f"{n} is gone.") for n in range(1, 2001)]
        add_problems(session, job, [*problems, Problem(0, None, None, "invalid_row", "It is torn.")])
        session.get_one(Job, job).failed = 2001
    fetched: list[int] = []

    def count(client: VitrineClient, method: str, address: str, **arguments: Any) -> Any:
        answer = request(client, method, address, **arguments)
        if address.endswith("/failures"):
            fetched.append(len(answer.json()["failures"]))
        return answer

    request = VitrineClient._request
    monkeypatch.setattr(VitrineClient, "_request", count)
    shown = vitrine("jobs", "show", job).stderr
    assert "missing_image: 2,000" in shown
    assert "row 5, p5: 5 is gone." in shown
    assert "p6" not in shown
    assert "It is torn." in shown
    assert sum(fetched) <= 1 + 2 * 5


def test_webhooks_from_the_command_line(shop: Shop, receiver: Callable[[], tuple[str, list[str]]]) -> None:
    url, got = receiver()
    sender = WebhookSender(shop.parts.database, allow_private=True, timeout_s=30.0)
    stop = threading.Event()
    sending = threading.Thread(target=sender.run, args=(stop,), daemon=True)
    sending.start()
    try:
        added = vitrine("webhooks", "add", url, "--event", "job.succeeded", "--catalogue", "demo")
        assert added.stdout.startswith("whsec_")
        (webhook,) = document("webhooks", "list")
        assert webhook["events"] == ["job.succeeded"]
        assert url in vitrine("webhooks", "list").stdout
        tested = vitrine("webhooks", "test", webhook["id"])
        assert tested.return_value == ExitCode.OK
        assert "the receiver answered 200" in tested.stderr
        assert got == ["webhook.test"]
        assert [d["state"] for d in document("webhooks", "deliveries", webhook["id"])] == ["delivered"]
        assert "webhook.test" in vitrine("webhooks", "deliveries", webhook["id"]).stdout
        assert document("webhooks", "remove", webhook["id"]) == {"removed": webhook["id"]}
        assert document("webhooks", "list") == []
    finally:
        stop.set()
        sending.join()


@pytest.fixture
def receiver() -> Iterator[Callable[[], tuple[str, list[str]]]]:
    servers: list[ThreadingHTTPServer] = []

    def start() -> tuple[str, list[str]]:
        got: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                got.append(self.headers["Vitrine-Event"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/", got

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
