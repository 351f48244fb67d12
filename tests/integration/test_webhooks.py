"""Webhooks: an event is sent because it happened, signed, until it is received; never into the network."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared.catalogue.store import CatalogueStore
from shared.contracts import WebhookMade
from shared.contracts.states import JobKind
from shared.database import Database
from shared.database.clock import now_s
from shared.errors import UnknownCatalogue, UnknownWebhook
from shared.jobs.queue import JobQueue
from shared.jobs.repository import JobRepository
from shared.webhooks import queue as webhook_desk
from shared.webhooks.queue import RETRY, WebhookQueue
from shared.webhooks.repository import WebhookRepository, emit
from shared.webhooks.signatures import signature
from tests.servers import wait_for
from worker.maintenance.webhook_sender import WebhookSender

URL = "http://127.0.0.1:9/hook"


class Receiver:
    """A shop's own backend: notes what comes, and answers what a test tells it to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.location: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@contextmanager
def listening(receiver: Receiver) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            receiver.arrived.set()
            receiver.gate.wait(60)
            self.send_response(receiver.status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    receiver.gate.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def address(receiver: Receiver) -> Iterator[str]:
    with listening(receiver) as url:
        yield url


@pytest.fixture
def hooks(database: Database) -> WebhookRepository:
    CatalogueStore(database).create("shop")
    return WebhookRepository(database)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass for the sender's side."""
    passed = [0.0]
    real = now_s
    monkeypatch.setattr(webhook_desk, "now_s", lambda: real() + passed[0])

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    return go_on


def sender(database: Database, timeout_s: float = 60.0, allow_private: bool = True) -> WebhookSender:
    return WebhookSender(database, allow_private, timeout_s)


def send_all(sending: WebhookSender) -> None:
    while begun := sending.send_due():
        for each in begun:
            each.result()


def tell(database: Database, event: str = "index.promoted", catalogue: str = "shop", **data: Any) -> None:
    with database.write() as session:
        emit(session, event, catalogue, data)


def test_the_end_of_a_job_is_told_signed_with_the_secret(
    database: Database, hooks: WebhookRepository, receiver: Receiver, address: str
) -> None:
    made = hooks.add(address, ["job.succeeded", "job.paused"], "shop")
    jobs, desk = JobRepository(database), JobQueue(database, "one", 60, 4, 2)
    job = jobs.create(JobKind.REBUILD, "shop").id
    jobs.pause(job)
    jobs.resume(job)
    claim = desk.claim()
    assert claim is not None
    desk.finish(claim)
    jobs.cancel(jobs.create(JobKind.REBUILD, "shop").id)  # no webhook has this event
    send_all(sender(database))
    assert [(e["event"], e["data"]["state"]) for e in receiver.events] == [
        ("job.paused", "paused"),
        ("job.succeeded", "succeeded"),
    ]
    assert {e["data"]["id"] for e in receiver.events} == {job}
    headers, body = receiver.got[0]
    at_s = int(headers["Vitrine-Signature"].partition(",")[0].removeprefix("t="))
    assert headers["Vitrine-Signature"] == signature(made.secret, at_s, body)
    assert headers["Vitrine-Signature"] != signature("another", at_s, body)
    assert (headers["Vitrine-Event"], headers["Vitrine-Delivery"]) == ("job.paused", receiver.events[0]["id"])
    log = hooks.deliveries(made.id)
    assert [(d.event, d.state, d.status, d.attempts) for d in log] == [
        ("job.succeeded", "delivered", 200, 1),
        ("job.paused", "delivered", 200, 1),
    ]
    send_all(sender(database))
    assert len(receiver.got) == 2


def test_what_did_not_happen_is_not_told(database: Database, hooks: WebhookRepository) -> None:
    made = hooks.add(URL, [], None)

    def promote_and_fail() -> None:
        with database.write() as session:
            emit(session, "index.promoted", "shop", {})
            raise ConnectionError("the transaction fails after the event was noted")

    with pytest.raises(ConnectionError):
        promote_and_fail()
    assert hooks.deliveries(made.id) == []
    with database.write() as session, pytest.raises(ValueError, match="no event"):
        emit(session, "job.exploded", "shop", {})


def test_events_go_to_those_who_asked(database: Database, hooks: WebhookRepository) -> None:
    CatalogueStore(database).create("other")
    every = hooks.add(URL, [], None)
    ours = hooks.add(URL, ["index.promoted"], "shop")
    tell(database)
    tell(database, "index.rolled_back")
    tell(database, catalogue="other")
    assert len(hooks.deliveries(every.id)) == 3
    assert [d.event for d in hooks.deliveries(ours.id)] == ["index.promoted"]
    assert "secret" not in hooks.list_webhooks()[0].model_dump()
    hooks.remove(ours.id)
    assert [w.id for w in hooks.list_webhooks()] == [every.id]
    with pytest.raises(UnknownWebhook):
        hooks.deliveries(ours.id)
    with pytest.raises(UnknownCatalogue):
        hooks.add(URL, [], "nothing")


def test_a_receiver_that_fails_is_asked_again_later_and_given_up_after_a_day(
    database: Database,
    hooks: WebhookRepository,
    receiver: Receiver,
    address: str,
    clock: Callable[[float], None],
) -> None:
    made = hooks.add(address, [], None)
    receiver.status = 500
    tell(database)
    sending = sender(database)
    send_all(sending)
    send_all(sending)
    assert len(receiver.got) == 1, "it is not asked again at once"
    clock(RETRY.delay_s(1))
    receiver.status = 302
    receiver.location = "http://127.0.0.1/elsewhere"
    send_all(sending)
    waiting = hooks.deliveries(made.id)[0]
    assert (waiting.state, waiting.attempts, waiting.status) == ("waiting", 2, 302)
    assert waiting.next_try_at is not None
    receiver.status = 204
    clock(RETRY.delay_s(2))
    send_all(sending)
    assert hooks.deliveries(made.id)[0].state == "delivered"
    assert len({e["id"] for e in receiver.events}) == 1, "one id, so that doubles can be dropped"

    receiver.status = 503
    tell(database)
    tries = 0
    while hooks.deliveries(made.id)[0].state == "waiting":
        tries += 1
        send_all(sending)
        clock(RETRY.delay_s(tries))
    dead = hooks.deliveries(made.id)[0]
    assert (dead.state, dead.status, dead.error) == ("dead", 503, "The receiver answered 503.")
    assert tries > 8
    clock(8 * 86_400.0)
    assert sending.delete_expired() == 2
    assert hooks.deliveries(made.id) == []


def test_one_that_hangs_holds_up_only_itself(
    database: Database, hooks: WebhookRepository, receiver: Receiver, address: str
) -> None:
    hangs = Receiver()
    hangs.gate.clear()
    with listening(hangs) as stuck:
        slow, quick = hooks.add(stuck, [], None), hooks.add(address, [], None)
        for _ in range(3):
            tell(database)
        stop = threading.Event()
        sending = sender(database)
        thread = threading.Thread(target=sending.run, args=(stop,), daemon=True)
        thread.start()
        wait_for("the quick one got all", lambda: len(receiver.got) == 3)
        assert len(hangs.got) == 1
        assert {d.state for d in hooks.deliveries(slow.id)} == {"waiting"}
        wait_for("it is noted", lambda: {d.state for d in hooks.deliveries(quick.id)} == {"delivered"})
        hangs.gate.set()
        wait_for("then the slow one gets the rest", lambda: len(hangs.got) == 3)
        stop.set()
        thread.join()


def test_one_that_never_answers_is_left_at_the_time_limit(
    database: Database, hooks: WebhookRepository, receiver: Receiver, address: str
) -> None:
    made = hooks.add(address, [], None)
    receiver.gate.clear()
    tell(database)
    send_all(sender(database, timeout_s=0.5))
    left = hooks.deliveries(made.id)[0]
    assert (left.state, left.error) == ("waiting", "The address delivers too slowly.")


def test_a_sender_that_dies_loses_nothing_and_the_id_shows_the_double(
    database: Database,
    hooks: WebhookRepository,
    receiver: Receiver,
    address: str,
    clock: Callable[[float], None],
) -> None:
    made = hooks.add(address, [], None)
    tell(database)
    dying = sender(database, timeout_s=10.0)
    # It is killed after the receiver had the event and before that was noted.
    dying._queue.mark_delivered = lambda *_: None  # type: ignore[method-assign]
    send_all(dying)
    assert len(receiver.got) == 1
    after = sender(database, timeout_s=10.0)
    send_all(after)
    assert len(receiver.got) == 1, "while it may still be alive, nobody sends the same"
    clock(60.0)
    send_all(after)
    assert hooks.deliveries(made.id)[0].state == "delivered"
    assert [e["id"] for e in receiver.events] == [receiver.events[0]["id"]] * 2


def test_control_a_sender_that_takes_events_off_the_list_first_loses_one(
    database: Database, hooks: WebhookRepository, receiver: Receiver, address: str
) -> None:
    """What the test above guards against: delivered is written before it is true."""
    hooks.add(address, [], None)
    tell(database)
    desk = WebhookQueue(database, 40.0)
    for due in desk.take(8):
        desk.mark_delivered(due, 200)
    send_all(sender(database))  # the one that comes after the death
    assert receiver.got == []


def test_no_event_goes_into_a_private_network(
    database: Database,
    hooks: WebhookRepository,
    receiver: Receiver,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when the name led elsewhere while it was added."""
    made = hooks.add(address.replace("127.0.0.1", "rebinding.example"), [], None)
    monkeypatch.setattr("shared.net.url_fetch.resolve", lambda host, port: ["127.0.0.1"])
    tell(database)
    send_all(sender(database, allow_private=False))
    assert receiver.got == []
    left = hooks.deliveries(made.id)[0]
    assert left.state == "waiting"
    assert "VITRINE_WEBHOOKS__ALLOW_PRIVATE" in str(left.error)


def test_a_test_event_reaches_only_its_webhook(
    database: Database, hooks: WebhookRepository, receiver: Receiver, address: str
) -> None:
    made: WebhookMade = hooks.add(address, ["job.failed"], None)
    hooks.add(URL, [], None)
    delivery = hooks.test(made.id)
    send_all(sender(database))
    assert [e["event"] for e in receiver.events] == ["webhook.test"]
    assert receiver.events[0]["id"] == delivery.id
