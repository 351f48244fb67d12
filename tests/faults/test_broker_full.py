"""A broker that answers and refuses writes: nothing is accepted, no worker ends, nothing is lost."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import func, select

from cli.services.milvus import EmbeddedMilvus
from shared.database import Database
from shared.database.tables import Job, Search
from tests import builders
from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.services_milvus import drop_all
from tests.stack import Stack

pytestmark = pytest.mark.services

PREFIX = "tbrokerfull"
PHOTOS = pictures(6)
SMALL_BYTES = 4 * 2**20
SPARE_BYTES = 2**19
JUNK_BYTES = 20_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, milvus: EmbeddedMilvus) -> Iterator[Stack]:
    """All processes on a Redis with room for 4 MB, and a catalogue of six products."""
    running = Stack(tmp_path_factory.mktemp("full"), milvus.uri, PREFIX)
    running.start()
    running.redis.client().config_set("maxmemory", SMALL_BYTES)
    running.wait_job(running.import_folder("shop", archive(PHOTOS)))
    yield running
    running.stop()
    drop_all(milvus.uri, PREFIX)


def fill(broker: redis.Redis) -> None:
    """Write until Redis takes no more, down to the last bytes."""
    for size in (JUNK_BYTES, 1000, 40):
        with contextlib.suppress(redis.exceptions.OutOfMemoryError):
            while True:
                broker.rpush("junk", b"x" * size)
    # Connections that close give some memory back, which would make room again.
    broker.config_set("maxmemory", SMALL_BYTES - SPARE_BYTES)


def kept(stack: Stack) -> tuple[int, int, int]:
    """Rows of searches and of jobs, and photos that were stored."""
    database = Database(stack.database_url)
    with database.read() as session:
        rows = [session.scalar(select(func.count()).select_from(table)) or 0 for table in (Search, Job)]
    database.close()
    photos = sum(1 for path in Path(stack.env["VITRINE_DATA_DIR"], "images").rglob("*") if path.is_file())
    return rows[0], rows[1], photos


def assert_answered_once(stack: Stack, ids: list[str]) -> None:
    tasks = [stack.wait_task(each) for each in ids]
    assert [task["state"] for task in tasks] == ["succeeded"] * len(ids), tasks
    database = Database(stack.database_url)
    with database.read() as session:
        attempts = session.scalars(select(Search.attempts).where(Search.id.in_(ids))).all()
    database.close()
    assert list(attempts) == [1] * len(ids)


def test_a_full_broker_is_named_work_is_refused_and_what_was_accepted_is_answered(stack: Stack) -> None:
    broker = stack.redis.client()
    parents = {name: stack.processes[name].pid for name in ("search", "catalogue")}
    stack.freeze("search")
    stack.freeze("catalogue")
    accepted = [stack.search(photo, "shop").json()["id"] for photo in PHOTOS.values()]
    job = stack.import_folder("shop", archive({"later.jpg": builders.jpeg(seed=77)}))
    fill(broker)
    stack.signal("search", signal.SIGCONT)
    stack.signal("catalogue", signal.SIGCONT)

    ready = wait_for("the web notices", lambda: not_ready(stack))
    assert "not writable, 4 of 4 MB used" in ready["broker"]
    assert "not writable, 4 of 4 MB used" in stack.status()["parts"]["broker"]
    assert "vitrine_broker_writable 0.0" in stack.client().get("/metrics").text

    before = kept(stack)
    fresh = builders.jpeg(seed=4711, width=210, height=170)
    refused = [
        stack.search(fresh, "shop"),
        stack.client().post("/v1/searches", json={"catalogue": "shop", "product_id": "p1"}),
        stack.client().post(
            "/v1/catalogues/shop/imports",
            content=archive(PHOTOS),
            headers={"Content-Type": "application/zip"},
        ),
        stack.client().put("/v1/catalogues/shop/products/p1", json={"product_id": "p1", "title": "x"}),
        stack.client().post("/v1/catalogues/shop/rebuild", json={}),
        stack.client().delete("/v1/catalogues/shop/products/p1"),
        stack.client().post("/s", files={"image": ("photo.jpg", fresh)}, data={"catalogue": "shop"}),
    ]
    for answer in refused:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
    for answer in refused[:-1]:
        assert answer.json()["error"]["code"] == "broker_unavailable"
    assert kept(stack) == before
    # What needs no broker goes on.
    assert stack.client().get(f"/v1/tasks/{accepted[0]}").status_code == 200

    # Long enough for a worker that ended to end, and be seen.
    stack.settle(8)
    for name, parent in parents.items():
        assert stack.processes[name].poll() is None, stack.log(name)[-3000:]
        assert stack.processes[name].pid == parent
    broker.delete("junk")
    broker.config_set("maxmemory", SMALL_BYTES)
    assert_answered_once(stack, accepted)
    assert stack.wait_job(job)["counts"]["new"] == 1
    wait_for("all is ready again", stack.ready)
    assert_answered_once(stack, [stack.search(fresh, "shop").json()["id"]])
    for name in parents:
        assert "Unrecoverable error" not in stack.log(name)


def test_a_read_only_replica_is_named_and_left_alone(stack: Stack) -> None:
    wait_for("all is ready", stack.ready)
    broker = stack.redis.client()
    accepted = [stack.search(photo, "shop").json()["id"] for photo in PHOTOS.values()]
    broker.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        found = wait_for("the web notices", lambda: not_ready(stack))
        assert "read-only replica" in found["broker"]
        assert stack.search(PHOTOS["p1.jpg"], "shop").status_code == 503
        stack.settle(5)
    finally:
        broker.execute_command("REPLICAOF", "NO", "ONE")
    assert_answered_once(stack, accepted)
    wait_for("all is ready again", stack.ready)
    for name in ("search", "catalogue"):
        assert stack.processes[name].poll() is None


def not_ready(stack: Stack) -> dict[str, str] | None:
    answer = stack.client().get("/readyz")
    return None if answer.status_code == 200 else dict(answer.json()["parts"])
