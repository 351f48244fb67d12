"""Imports that are killed between two writes (M24), and again and again (M27); each with its control."""

from __future__ import annotations

import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from shared.database import Database
from shared.database.tables import Chunk, Detection
from tests.faults.chunks import freeze_in_a_chunk
from tests.faults.conftest import assert_index_is_the_catalogue
from tests.faults.gate import ALL, let_through, passed, settings, wait_until_closed
from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.stack import COMMANDS, Stack
from worker.vector_index import MilvusIndex

pytestmark = [pytest.mark.services, pytest.mark.faults, pytest.mark.timeout(900)]

PRODUCTS = 160
#: Of four products each, as the stack's settings say.
MICRO_BATCHES, BATCHES_OF_A_CHUNK = 40, 4
FORGETFUL, TRAPPED = (
    [part.replace("worker.app", f"tests.faults.{name}_worker") for part in COMMANDS["catalogue"]]
    for name in ("forgetful", "trapped")
)


def rows(stack: Stack) -> tuple[int, int]:
    """Rows in the database, and in Milvus with every finished write."""
    database = Database(stack.database_url)
    with database.read() as session:
        stored = session.scalar(select(func.count()).select_from(Detection)) or 0
    database.close()
    index = MilvusIndex(stack.env["VITRINE_MILVUS__URI"], timeout_s=60)
    try:
        return stored, index.count(f"{stack.env['VITRINE_MILVUS__PREFIX']}_1")
    finally:
        index.close()


@contextmanager
def nobody_commits(stack: Stack, job: str) -> Iterator[None]:
    """Hold SQLite's write lock since a moment in the middle of a chunk: who wants to commit waits.

    The lock is taken while the worker is frozen. Taken later, it might find the chunk's last products
    committed: the worker would then wait to end the chunk, and write nothing more to Milvus.
    """
    connection = sqlite3.connect(Path(stack.env["VITRINE_DATA_DIR"]) / "vitrine.sqlite3", timeout=2)
    connection.isolation_level = None
    try:
        wait_for("the worker is frozen between two commits", partial(_lock, connection, stack, job))
        stack.signal("catalogue", signal.SIGCONT)
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _lock(connection: sqlite3.Connection, stack: Stack, job: str) -> bool:
    freeze_in_a_chunk(stack, job)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:  # frozen in the very moment of a commit
        stack.signal("catalogue", signal.SIGCONT)
        return False
    return True


def die_between_milvus_and_the_database(stack: Stack) -> str:
    """Kill an import when Milvus has acknowledged rows whose commit waits; return the job."""
    stack.env["VITRINE_DATABASE__BUSY_TIMEOUT_S"] = "120"
    stack.start()
    job = stack.import_folder("shop", archive(pictures(PRODUCTS)))
    with nobody_commits(stack, job):
        stored, _ = rows(stack)
        wait_for("Milvus has rows that the database has not", lambda: rows(stack)[1] > stored)
        stack.kill("catalogue")
        assert rows(stack)[0] == stored
    assert stack.job(job)["state"] == "running"
    return job


def test_rows_that_milvus_had_before_the_death_are_written_again_not_doubled(stack: Stack) -> None:
    job = die_between_milvus_and_the_database(stack)
    stack.start_one("catalogue")
    done = stack.wait_job(job)
    assert (done["state"], done["counts"]["new"], done["counts"]["failed"]) == ("succeeded", PRODUCTS, 0)
    proof = done["report"]["reconcile"]
    assert (proof["expected"], proof["found"], proof["missing"], proof["orphans"]) == (
        PRODUCTS,
        PRODUCTS,
        0,
        0,
    )
    assert_index_is_the_catalogue(stack, PRODUCTS)


def test_control_with_keys_that_differ_each_time_rows_are_left_over(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "catalogue", FORGETFUL)
    stack.env.update(FORGETS="keys", PYTHONPATH=".")
    job = die_between_milvus_and_the_database(stack)
    stack.start_one("catalogue")
    done = stack.wait_job(job)
    stored, indexed = rows(stack)
    assert (stored, done["counts"]["new"]) == (PRODUCTS, PRODUCTS)
    assert indexed > PRODUCTS
    assert (done["state"], done["error"]["code"]) == ("failed", "index_incomplete"), "and the proof says so"


def kill_at_random_points(stack: Stack, seed: int, kills: int) -> tuple[str, int]:
    """Kill the worker after so many micro-batches, each time in a chunk; return job and chunks redone.

    A gate holds it there: however slow this process is, the worker does not get ahead of it.
    """
    chance = random.Random(seed)
    inside = [n for n in range(2, MICRO_BATCHES - 8) if n % BATCHES_OF_A_CHUNK]
    points = sorted(chance.sample(inside, kills))
    stack.env |= settings(stack)
    let_through(stack, ALL)
    stack.start()
    wait_for("the worker has tried its models", lambda: "ready:" in stack.log("catalogue"))
    tried = passed(stack)
    let_through(stack, points[0])
    job = stack.import_folder("shop", archive(pictures(PRODUCTS)))
    for point, following in zip(points, [*points[1:], ALL], strict=True):
        wait_until_closed(stack)
        freeze_in_a_chunk(stack, job)
        stack.kill("catalogue")
        let_through(stack, tried + following - point)
        stack.start_one("catalogue")
    done = stack.wait_job(job)
    assert (done["state"], done["counts"]["new"]) == ("succeeded", PRODUCTS), done
    return job, chunks_redone(stack, job)


def chunks_redone(stack: Stack, job: str) -> int:
    database = Database(stack.database_url)
    with database.read() as session:
        attempts = session.scalars(select(Chunk.attempts).where(Chunk.job_id == job)).all()
    database.close()
    return sum(n - 1 for n in attempts)


def test_an_import_killed_again_and_again_redoes_at_most_one_chunk_a_kill(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "catalogue", TRAPPED)
    job, redone = kill_at_random_points(stack, seed=27, kills=3)
    assert redone == 3, "each kill was in the middle of a chunk"
    proof = stack.job(job)["report"]["reconcile"]
    assert (proof["found"], proof["missing"], proof["orphans"]) == (PRODUCTS, 0, 0)
    assert_index_is_the_catalogue(stack, PRODUCTS)


def test_control_a_worker_that_forgets_its_place_redoes_more(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "catalogue", FORGETFUL)
    stack.env.update(FORGETS="place", PYTHONPATH=".")
    # Once more, and the first chunks would have been tried too often.
    _, redone = kill_at_random_points(stack, seed=27, kills=2)
    assert redone > 2
    assert_index_is_the_catalogue(stack, PRODUCTS)
