"""Several things at once: imports of two catalogues, and products put by hand during bulk work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.broker.task_names import Lane
from shared.contracts import ProductIn
from shared.imports.manifest import Row, read_rows
from shared.jobs.queue import JobQueue
from shared.jobs.work import ChunkClaim
from tests import builders
from tests.packing import pictures
from tests.shop import Shop, found
from worker.process import build_process
from worker.products.embedding import embed_contents

pytestmark = pytest.mark.slow


def put_by_hand(shop: Shop, seed: int = 80) -> str:
    photo = shop.store.put(builders.jpeg(seed=seed), "images")
    return shop.jobs.create_put("shop", "by-hand", ProductIn(titles={"en": "By hand"}), [photo]).id


def ends(shop: Shop, monkeypatch: pytest.MonkeyPatch, bulk: str) -> list[tuple[str, int]]:
    """A list that gets the kind of each chunk that ends, and how far the bulk job was then."""
    noted: list[tuple[str, int]] = []
    finish = JobQueue.finish

    def note(desk: JobQueue, claim: ChunkClaim, report: Any = None) -> list[str]:
        noted.append((claim.kind if claim.kind == "put" else claim.stage, shop.jobs.status(bulk).done))
        return finish(desk, claim, report)

    monkeypatch.setattr(JobQueue, "finish", note)
    return noted


def before_the_second(act: Callable[[], object], original: Callable[..., Any]) -> Callable[..., Any]:
    calls: list[int] = []

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            act()
        return original(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize("gives_way", [True, False], ids=["", "control: without giving way"])
def test_a_product_put_by_hand_goes_between_the_micro_batches_of_a_chunk(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, gives_way: bool
) -> None:
    bulk = shop.accept_import(dict(pictures(40)))
    noted = ends(shop, monkeypatch, bulk)
    hook = before_the_second(lambda: put_by_hand(shop), embed_contents)
    monkeypatch.setattr("worker.products.writing.embed_contents", hook)
    if not gives_way:
        monkeypatch.setattr(JobQueue, "has_urgent_work", lambda *_: False)
    shop.work()
    kinds = [kind for kind, _ in noted]
    done = dict(noted)["put"]
    if gives_way:
        assert kinds == ["plan", "put", "items", "finish"]
        assert done < 40, "it must not wait for the chunk to end"
    else:
        assert kinds == ["plan", "items", "put", "finish"]
    assert shop.jobs.status(bulk).counts.new == 40
    assert found(shop.search(builders.jpeg(seed=80)))[0] == "by-hand"
    assert shop.rows() == 41


def test_a_product_put_by_hand_does_not_wait_for_a_manifest_to_be_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = shop.accept_import(dict(pictures(6)))
    noted = ends(shop, monkeypatch, bulk)

    def slow(*args: Any) -> Iterator[Row]:
        for n, row in enumerate(read_rows(*args)):
            if n == 3:
                put_by_hand(shop)
            yield row

    monkeypatch.setattr("worker.jobs.imports.read_rows", slow)
    monkeypatch.setattr("worker.jobs.lane._POLL_INTERVAL_S", -1.0)
    shop.work()
    assert [kind for kind, _ in noted] == ["put", "plan", "items", "finish"]
    assert shop.jobs.status(bulk).counts.new == 6


def test_a_product_that_ended_a_worker_once_is_not_taken_into_a_bulk_chunk(shop: Shop) -> None:
    """It goes alone from then on, so that no bulk chunk is blamed for it."""
    shop.accept_import(dict(pictures(4)))
    desk, other = shop.worker.catalogue.context.desk, JobQueue(shop.worker.database, "other", 60.0, 4, 4)
    bulk = desk.claim()
    assert bulk is not None
    put_by_hand(shop)
    assert desk.has_urgent_work(bulk)
    urgent = other.claim(within=bulk)
    assert urgent is not None
    assert (urgent.kind, urgent.attempts) == ("put", 1)
    assert not desk.has_urgent_work(bulk), "another worker has it"
    assert other.take_over() == 1, "whose process died over it and came back"
    assert not desk.has_urgent_work(bulk)
    assert desk.claim(within=bulk) is None
    alone = desk.claim()
    assert alone is not None
    assert (alone.kind, alone.attempts) == ("put", 2)


def test_two_catalogues_are_imported_at_once(shop: Shop) -> None:
    shop.catalogue.create("other")
    jobs = [
        shop.accept_import(dict(pictures(60)), "shop"),
        shop.accept_import(dict(pictures(60, first=30)), "other"),
    ]
    second = build_process(shop.settings, Lane.CATALOGUE, "catalogue@second", shop.memory)

    def work(process: Any) -> None:
        while any(shop.jobs.status(job).state in ("queued", "running") for job in jobs):
            process.catalogue.work_one()

    workers = [
        threading.Thread(target=work, args=(process,), daemon=True) for process in (shop.worker, second)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    second.close()
    a, b = (shop.jobs.status(job) for job in jobs)
    assert (a.state, a.counts.new, b.state, b.counts.new) == ("succeeded", 60, "succeeded", 60)
    assert None not in (a.started_at, a.finished_at, b.started_at, b.finished_at)
    assert a.started_at < b.finished_at
    assert b.started_at < a.finished_at
    for job in (a, b):
        assert job.report is not None
        assert (job.report["reconcile"]["found"], job.report["reconcile"]["missing"]) == (60, 0)
