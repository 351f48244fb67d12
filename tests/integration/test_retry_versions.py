"""Jobs that fill an index version, given up half-way and tried again: the retry ends what they began."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import Conflict
from tests.memory_index import MemoryIndex
from tests.shop import CHUNK, NEW, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop.in_small_steps(tmp_path, MemoryIndex())
    yield opened
    opened.close()


def test_a_retried_reprocessing_is_judged_and_its_index_goes_live(shop: Shop) -> None:
    shop.fill(CHUNK + 2)
    job = shop.reprocess()
    shop.work(2)  # the plan, and the first chunk
    shop.jobs.cancel(job)
    again = shop.jobs.retry(job, None, CHUNK).id
    shop.work(1)
    shop.jobs.cancel(again)
    last = shop.done(shop.jobs.retry(again, None, CHUNK).id)
    assert last.state == "succeeded", last
    assert last.report is not None
    assert last.report["gate"]["verdict"] == "passed"
    assert shop.versions()[2].state == "ready"
    shop.assert_exact(shop.versions()[2], CHUNK + 2)
    assert shop.done(shop.promote()).state == "succeeded"
    assert shop.search(1).models["embedder"] == NEW


def test_an_index_that_another_job_went_on_with_is_left_to_it(shop: Shop) -> None:
    shop.fill(CHUNK + 2)
    job = shop.reprocess()
    shop.work(2)
    shop.jobs.cancel(job)
    other = shop.reprocess()
    shop.work(1)
    with pytest.raises(Conflict, match=other):
        shop.jobs.retry(job, None, CHUNK)
    assert shop.done(other).state == "succeeded"
    assert shop.versions()[2].state == "ready"


def test_a_retried_rebuild_begins_anew(shop: Shop) -> None:
    """Its rows were in a collection that was its own; what another job writes goes to another one."""
    shop.fill(CHUNK + 2)
    job = shop.indexes.rebuild("shop").id
    shop.work(2)
    shop.jobs.cancel(job)
    again = shop.done(shop.jobs.retry(job, None, CHUNK).id)
    assert again.state == "succeeded", again
    shop.assert_exact(shop.live(), CHUNK + 2)
    assert len(shop.index.collections()) == 1
