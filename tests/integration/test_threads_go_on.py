"""The threads of the maintenance process outlive what nobody foresaw: no one would notice that they ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from shared.catalogue.store import CatalogueStore
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import IndexVersionRow, Probe, ProbeQuery
from shared.webhooks.queue import WebhookQueue
from tests.servers import wait_for
from worker.maintenance.probing import Prober, ProbeResult
from worker.maintenance.webhook_sender import WebhookSender

pytestmark = pytest.mark.slow


@contextmanager
def running(run: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(stop,), daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


def fail_at_first(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, otherwise: Any) -> list[int]:
    """Let a method raise what it never should, once; afterwards it is ``otherwise``."""
    calls: list[int] = []

    def method(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("nobody foresaw this")
        return otherwise(*arguments)

    monkeypatch.setattr(owner, name, method)
    return calls


def test_a_probe_that_fails_is_not_the_last_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    CatalogueStore(database).create("shop")
    with database.write() as session:
        names = dict.fromkeys(("collection", "alias", "detector", "embedder"), "x")
        session.add(
            IndexVersionRow(catalogue_id=1, number=1, dim=4, state="live", created_at=now_s(), **names)
        )
        session.flush()
        for _ in range(2):
            embedding = np.zeros(4, "<f4").tobytes()
            session.add(
                ProbeQuery(catalogue_id=1, index_version=1, embedding=embedding, keys=[], asked_at=now_s())
            )
    fail_at_first(monkeypatch, Prober, "_compare", lambda *_: ProbeResult(10, 1.0))
    with running(Prober(database, 1000).run):
        wait_for("the second probe", lambda: probes(database) == 1)


def probes(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count(Probe.id))) or 0


def test_events_are_looked_for_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = fail_at_first(monkeypatch, WebhookQueue, "take", WebhookQueue.take)
    with running(WebhookSender(database, allow_private=True, timeout_s=30.0).run):
        wait_for("it looks again", lambda: len(looks) > 1)
