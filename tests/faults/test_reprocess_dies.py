"""A worker is killed in the middle of a re-process, while shoppers search: nothing is lost or done twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import func, select

from shared.database import Database
from shared.database.tables import Chunk, IndexVersionRow
from tests.faults.chunks import freeze_in_a_chunk
from tests.packing import archive, pictures
from tests.servers import PATIENCE_S
from tests.stack import Stack
from worker.indexes.expected_rows import expected_keys
from worker.vector_index import MilvusIndex

pytestmark = [pytest.mark.services, pytest.mark.faults]

PRODUCTS = 120
KILLS = 2


def search_until(stack: Stack, stopping: Event, photo: bytes) -> list[dict[str, object]]:
    tasks = []
    while not stopping.is_set():
        tasks.append(stack.wait_task(stack.search(photo, "shop", top_k=5).json()["id"]))
    return tasks


def test_killed_workers_cost_a_chunk_each_and_no_search(stack: Stack) -> None:
    stack.env["VITRINE_JOBS__CHUNK_ITEMS"] = "40"
    stack.start()
    photos = pictures(PRODUCTS)
    stack.wait_job(stack.import_folder("shop", archive(photos)))
    stopping = Event()
    with ThreadPoolExecutor(1) as pool:
        searched = pool.submit(search_until, stack, stopping, photos["p7.jpg"])
        asked = {"embedder": "perceptual-hash", "promote": "auto"}
        accepted = stack.client().post("/v1/catalogues/shop/reprocess", json=asked)
        job = accepted.json()["id"]
        for _ in range(KILLS):
            freeze_in_a_chunk(stack, job)
            stack.kill("catalogue")
            stack.start_again("catalogue")
        done = stack.wait_job(job)
        stopping.set()
        tasks = searched.result()

    assert (done["state"], done["images"]) == ("succeeded", PRODUCTS), done
    assert done["report"]["promoted"] is True, done["report"]
    assert begun_again(stack, job) <= KILLS
    assert_both_indexes_are_the_catalogue(stack)
    assert {task["state"] for task in tasks} == {"succeeded"}
    assert all(first_hit(task) == "p7" for task in tasks)
    after = stack.wait_task(stack.search(photos["p7.jpg"], "shop").json()["id"])
    assert after["result"]["models"]["embedder"] == "perceptual-hash"
    assert first_hit(after) == "p7"


def assert_both_indexes_are_the_catalogue(stack: Stack) -> None:
    database = Database(stack.database_url)
    index = MilvusIndex(stack.env["VITRINE_MILVUS__URI"], timeout_s=PATIENCE_S)
    with database.read() as session:
        versions = list(session.scalars(select(IndexVersionRow).order_by(IndexVersionRow.number)))
    assert [version.state for version in versions] == ["retired", "live"]
    for version in versions:
        expected = set(expected_keys(database, version.id))
        assert len(expected) == PRODUCTS
        assert set(index.sorted_keys(version.collection)) == expected
    database.close()


def first_hit(task: dict[str, object]) -> object:
    return task["result"]["whole"]["hits"][0]["product_id"]  # type: ignore[index]


def begun_again(stack: Stack, job: str) -> int:
    """How often a chunk of the job's products was begun that had been begun before."""
    database = Database(stack.database_url)
    with database.read() as session:
        extra = session.scalar(
            select(func.sum(Chunk.attempts - 1)).where(Chunk.job_id == job, Chunk.stage == "items")
        )
    database.close()
    return int(extra or 0)
