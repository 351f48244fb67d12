"""Every process on a host with another clock: searches and imports are done once, and all are seen alive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from cli.services.milvus import EmbeddedMilvus
from shared.database import Database
from shared.database.tables import Chunk, Search
from tests.databases import new_postgres_database
from tests.faketime import WrongClock
from tests.faults.conftest import assert_index_is_the_catalogue
from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.stack import Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]

#: How far the clock of each process's host is ahead.
AHEAD_S = {"web": -25.0, "search": 60.0, "catalogue": -60.0, "maintenance": 60.0}
PRODUCTS, SEARCHES = 40, 20


@pytest.fixture
def stack(tmp_path: Path, milvus: EmbeddedMilvus, prefix: str, postgres: str) -> Iterator[Stack]:
    settings = {
        "VITRINE_DATABASE__URL": new_postgres_database(postgres),
        "VITRINE_JOBS__CHUNK_ITEMS": "16",
        "VITRINE_SWEEP__INTERVAL_S": "0.2",
    }
    running = Stack(tmp_path, milvus.uri, prefix, settings)
    yield running
    running.stop()


def test_hosts_with_wrong_clocks_do_all_work_once(stack: Stack, tmp_path: Path) -> None:
    stack.redis.start()
    stack.run_module("shared.database.migrate")
    for name, ahead_s in AHEAD_S.items():
        stack.start_one(name, WrongClock(tmp_path / f"{name}.clock", ahead_s).env)
    wait_for("everything is ready", stack.ready, every_s=0.3)
    job = stack.wait_job(stack.import_folder("shop", archive(pictures(PRODUCTS))))
    assert (job["state"], job["counts"]["new"]) == ("succeeded", PRODUCTS), job
    photo = next(iter(pictures(1).values()))
    accepted = [str(stack.search(photo, "shop").json()["id"]) for _ in range(SEARCHES)]
    answered = [stack.wait_task(task) for task in accepted]
    assert {task["state"] for task in answered} == {"succeeded"}
    # Waiting is measured by one clock, though one host accepted the search and another answered it.
    assert all(0 <= task["result"]["timings_ms"]["wait"] < 20_000 for task in answered)
    assert stack.ready()
    status = stack.client().get("/v1/status").json()
    skews = {p["role"]: p["details"]["clock_skew_s"] for p in status["processes"]}
    for role in ("search", "catalogue", "maintenance"):
        assert skews[role] == pytest.approx(AHEAD_S[role], abs=5)
    assert_index_is_the_catalogue(stack, PRODUCTS)
    database = Database(stack.database_url)
    with database.read() as session:
        assert set(session.scalars(select(Search.attempts))) == {1}
        assert set(session.scalars(select(Chunk.attempts).where(Chunk.state == "done"))) == {1}
    database.close()
