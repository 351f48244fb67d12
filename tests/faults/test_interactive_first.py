"""People go before bulk work (M30): searches have a process of their own, puts go between micro-batches."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import text

from shared.contracts import ProductIn
from shared.database import Database
from shared.errors import DatabaseUnavailable
from shared.jobs.queue import JobQueue
from shared.jobs.work import ChunkClaim
from tests import builders
from tests.faults.chunks import freeze_in_a_chunk
from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.shop import Shop, shop
from tests.stack import Stack
from worker.products.writing import ProductStages

__all__ = ["shop"]

pytestmark = [pytest.mark.services, pytest.mark.faults]

PRODUCTS = 160
PUTS = 50


def freeze_between_commits(stack: Stack, job: str) -> None:
    """Freeze the worker in a chunk, but not while it has SQLite's one write lock."""

    def frozen() -> bool:
        freeze_in_a_chunk(stack, job)
        database = Database(stack.database_url, busy_timeout_s=0.5)
        try:
            with database.write() as session:
                session.execute(text("SELECT 1"))
            return True
        except DatabaseUnavailable:
            stack.signal("catalogue", signal.SIGCONT)
            return False
        finally:
            database.close()

    wait_for("the worker stands still outside of a commit", frozen)


def test_searches_are_answered_while_the_worker_of_a_bulk_job_stands_still(stack: Stack) -> None:
    stack.start()
    photos = pictures(4)
    stack.wait_job(stack.import_folder("shop", archive(photos)))
    job = stack.import_folder("shop", archive(pictures(PRODUCTS, first=10)))
    freeze_between_commits(stack, job)
    done = stack.job(job)["done"]
    for photo in photos.values():
        answer = stack.search(photo, "shop")
        assert answer.status_code == 202, answer.text
        task = stack.wait_task(answer.json()["id"])
        assert task["state"] == "succeeded", task
        assert task["result"]["whole"]["hits"]
    assert (stack.job(job)["state"], stack.job(job)["done"]) == ("running", done)
    stack.signal("catalogue", signal.SIGCONT)
    assert stack.wait_job(job)["counts"]["new"] == PRODUCTS

    # The control: what those searches needed was the other worker.
    stack.freeze("search")
    waiting = str(stack.search(photos["p0.jpg"], "shop").json()["id"])
    stack.settle(3)
    assert stack.client().get(f"/v1/tasks/{waiting}").json()["state"] in ("queued", "running")
    stack.signal("search", signal.SIGCONT)
    assert stack.wait_task(waiting)["state"] == "succeeded"


@pytest.mark.parametrize("gives_way", [True, False], ids=["", "control: without giving way"])
def test_fifty_products_put_by_hand_all_go_before_the_next_micro_batch(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, gives_way: bool
) -> None:
    bulk = shop.accept_import(dict(pictures(40)))
    photo = shop.store.put(builders.jpeg(seed=900), "images")
    embed, finish = ProductStages.embed, JobQueue.finish
    embedded: list[str] = []
    begun_at_end_of_put: list[int] = []

    def embed_and_note(stages: ProductStages, batch: object) -> None:
        if stages.claim.kind == "import":
            embedded.append(stages.claim.id)
            if len(embedded) == 2:
                for n in range(PUTS):
                    shop.jobs.create_put("shop", f"by-hand-{n}", ProductIn(), [photo])
        embed(stages, batch)  # type: ignore[arg-type]

    def finish_and_note(desk: JobQueue, claim: ChunkClaim, report: object = None) -> list[str]:
        if claim.kind == "put":
            begun_at_end_of_put.append(len(embedded))
        return finish(desk, claim, report)  # type: ignore[arg-type]

    monkeypatch.setattr(ProductStages, "embed", embed_and_note)
    monkeypatch.setattr(JobQueue, "finish", finish_and_note)
    if not gives_way:
        monkeypatch.setattr(JobQueue, "has_urgent_work", lambda *_: False)
    shop.work()
    assert len(begun_at_end_of_put) == PUTS
    # Micro-batches of the import that were in the models when each put was done: two, or all ten.
    assert set(begun_at_end_of_put) == ({2} if gives_way else {10})
    status = shop.jobs.status(bulk)
    assert (status.state, status.counts.new) == ("succeeded", 40)
    assert shop.rows() == 40 + PUTS
