"""An outage of Milvus delays jobs by its length: chunks that fail in one blink do not add up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from shared.contracts import ProductIn
from shared.database.clock import now_s
from shared.database.tables import Chunk, Job
from shared.errors import IndexUnavailable
from tests.memory_index import MemoryIndex
from tests.shop import CHUNK, Shop, photo
from worker.jobs.outage import MAX_BULK_DELAY_S, MAX_SINGLE_DELAY_S, MIN_DELAY_S, Outage


class Milvus:
    """A scripted index: whether it answers probes, and whether it takes rows."""

    def __init__(self, index: MemoryIndex, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = self.writes = True
        self.refused = 0
        upsert = index.upsert

        def upsert_unless_away(collection: str, rows: Any) -> None:
            if not (self.answers and self.writes):
                self.refused += 1
                raise IndexUnavailable("Milvus does not answer (UNAVAILABLE).")
            upsert(collection, rows)

        monkeypatch.setattr(index, "upsert", upsert_unless_away)
        monkeypatch.setattr(index, "healthy", lambda: self.answers)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    # A task that waits for Milvus is as long as the test's next step.
    monkeypatch.setattr("worker.jobs.lane._OUTAGE_WAIT_S", 0.0)
    monkeypatch.setattr("worker.jobs.outage._PROBE_INTERVAL_S", 0.0)
    opened = Shop.in_small_steps(tmp_path, MemoryIndex())
    opened.fill(CHUNK)
    yield opened
    opened.close()


@pytest.fixture
def milvus(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Milvus:
    assert isinstance(shop.index, MemoryIndex)
    return Milvus(shop.index, monkeypatch)


def accept_bulk(shop: Shop, chunks: int) -> str:
    """Accept an import whose items are listed, and whose chunks wait."""
    files = {f"n{n}.jpg": photo(100 + n) for n in range(chunks * CHUNK)}
    job = shop.accept_import(files)
    shop.worker.catalogue.work_one()
    return job


def accept_put(shop: Shop) -> str:
    key = shop.store.put(photo(77), "images")
    return shop.jobs.create_put("shop", "p1", ProductIn(), [key]).id


def delays_s(shop: Shop, job: str) -> list[float]:
    """Return for how long each postponed chunk of a job waits from now on."""
    with shop.database.read() as session:
        leases = session.scalars(
            select(Chunk.lease_until).where(Chunk.job_id == job, Chunk.state == "waiting")
        )
        return [until - now_s() for until in leases if until > 0]


@pytest.mark.parametrize("gated", [True, False], ids=["gated", "control"])
def test_one_chunk_pays_for_an_outage(
    shop: Shop, milvus: Milvus, monkeypatch: pytest.MonkeyPatch, gated: bool
) -> None:
    """Without the gate every chunk of the job failed within a second, and each raised the delay."""
    if not gated:
        monkeypatch.setattr(Outage, "is_away", lambda _: False)
    job = accept_bulk(shop, 8)
    milvus.answers = False
    returned = [shop.worker.catalogue.work_one() for _ in range(8)]
    waiting = delays_s(shop, job)
    assert (milvus.refused == 1 and len(waiting) == 1) is gated
    if gated:
        # The message of the chunk goes on, so that no sweep has to publish it again.
        assert len({tuple(each or ()) for each in returned}) == 1
        assert all(returned)
        assert max(waiting) <= MIN_DELAY_S
    milvus.answers = True
    assert shop.done(job).counts.new == 8 * CHUNK


def test_a_single_update_is_tried_again_soon_after_a_long_outage(
    shop: Shop, milvus: Milvus, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    monkeypatch.setattr(shop.worker.catalogue._outage, "_clock", lambda: passed[0])
    milvus.writes = False
    job = accept_put(shop)
    shop.worker.catalogue.work_one()
    passed[0] += 3600.0
    # Milvus answers again, but takes no rows yet: as while it loads its collections.
    with shop.database.write() as session:
        session.execute(Chunk.__table__.update().values(lease_until=0.0))  # type: ignore[attr-defined]
    shop.worker.catalogue.work_one()
    assert milvus.refused == 2
    assert max(delays_s(shop, job)) <= MAX_SINGLE_DELAY_S < 5
    milvus.writes = True
    assert shop.done(job).state == "succeeded"


def test_single_updates_go_first_while_bulk_work_waits(shop: Shop, milvus: Milvus) -> None:
    bulk = accept_bulk(shop, 2)
    milvus.writes = False
    shop.worker.catalogue.work_one()
    milvus.writes = True
    put = accept_put(shop)
    shop.worker.catalogue.work_one()
    assert shop.jobs.status(put).state == "succeeded"
    assert shop.done(bulk).state == "succeeded"


def test_an_ended_outage_leaves_no_message_behind(shop: Shop, milvus: Milvus) -> None:
    """A job that is cancelled in an outage: its chunk is passed on by no worker afterwards."""
    job = accept_bulk(shop, 2)
    milvus.answers = False
    shop.worker.catalogue.work_one()
    shop.jobs.cancel(job)
    milvus.answers = True
    assert shop.worker.catalogue.work_one() is None
    # The next outage counts from its own beginning.
    assert shop.worker.catalogue._outage.delay_s(is_single=False) == MIN_DELAY_S
    with shop.database.read() as session:
        assert session.scalar(select(Job.state).where(Job.id == job)) == "cancelled"


def test_delays_follow_the_length_of_the_outage() -> None:
    now, answers = [0.0], [False]
    outage = Outage(lambda: answers[0], lambda: now[0])
    assert not outage.is_away()
    for _ in range(34):  # as many chunks failed within 3 s when Milvus was killed
        outage.record_failure()
        now[0] += 0.08
    assert outage.delay_s(is_single=False) < 4
    assert outage.is_away()
    now[0] = 300.0
    assert outage.delay_s(is_single=False) == MAX_BULK_DELAY_S
    assert outage.delay_s(is_single=True) == MAX_SINGLE_DELAY_S
    answers[0] = True
    assert not outage.is_away()
    outage.record_success()
    outage.record_failure()
    assert outage.delay_s(is_single=False) == MIN_DELAY_S
