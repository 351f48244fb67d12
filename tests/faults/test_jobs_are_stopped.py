"""Workers and jobs are told to stop: M10 and M32 of the fault matrix, each with its control."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from sqlalchemy import select

from shared.database import Database
from shared.database.tables import Chunk
from tests.faults.conftest import assert_index_is_the_catalogue
from tests.faults.gate import ALL, let_through, settings
from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.stack import COMMANDS, Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]

PRODUCTS = 80


def start(stack: Stack, monkeypatch: pytest.MonkeyPatch, *traps: str) -> None:
    command = [
        "tests.faults.trapped_worker" if part == "worker.app" else part for part in COMMANDS["catalogue"]
    ]
    monkeypatch.setitem(COMMANDS, "catalogue", command)
    stack.env |= settings(stack, *traps) | {"VITRINE_JOBS__CHUNK_ITEMS": str(PRODUCTS)}
    let_through(stack, ALL)  # a worker that starts tries its models
    stack.start()


def long_chunk(stack: Stack) -> str:
    """A job whose one chunk has begun, and waits at its fourth micro-batch."""
    let_through(stack, 3)
    job = stack.import_folder("shop", archive(pictures(PRODUCTS)))
    wait_for("three micro-batches are done", lambda: stack.job(job)["done"] == 12)
    return job


def chunk_of(stack: Stack, job: str) -> Chunk:
    database = Database(stack.database_url)
    with database.read() as session:
        found = session.scalars(select(Chunk).where(Chunk.job_id == job, Chunk.number == 1)).one()
    database.close()
    return found


def act(stack: Stack, job: str, what: str) -> dict[str, Any]:
    answer = stack.client().post(f"/v1/jobs/{job}/{what}")
    assert answer.status_code in (200, 202), answer.text
    found: dict[str, Any] = answer.json()
    return found


def end_worker(stack: Stack) -> int:
    """SIGTERM; what waits at the gate is let through once the worker has heard it."""
    worker = stack.processes["catalogue"]
    worker.terminate()
    wait_for("it was heard", lambda: "Warm shutdown" in stack.log("catalogue"))
    let_through(stack, ALL)
    wait_for("the worker has ended", lambda: worker.poll() is not None)
    return int(worker.returncode)


def told_no(stack: Stack) -> int:
    return stack.log("catalogue").count("or its job was stopped")


def test_a_worker_told_to_end_puts_its_chunk_back(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    start(stack, monkeypatch)
    job = long_chunk(stack)
    # M10: it ends by itself, long before its chunk would, and nobody is blamed.
    assert end_worker(stack) == 0
    left = chunk_of(stack, job)
    assert (left.state, left.attempts, left.holder) == ("waiting", 0, None)
    assert 12 <= stack.job(job)["done"] < PRODUCTS

    # M32: nothing runs that was cancelled while no worker was there.
    bulk = stack.import_folder("shop", archive(pictures(4, first=500)))
    put = stack.client().put("/v1/catalogues/shop/products/p1", json={"titles": {"en": "By hand"}}).json()
    for stopped in (bulk, put["id"]):
        assert act(stack, stopped, "cancel")["state"] == "cancelled"
    stack.start_again("catalogue")
    assert stack.wait_job(job)["counts"]["new"] == PRODUCTS
    for stopped in (bulk, put["id"]):
        assert (stack.job(stopped)["state"], stack.job(stopped)["done"]) == ("cancelled", 0)
    assert_index_is_the_catalogue(stack, PRODUCTS)


def test_control_a_child_that_does_not_hear_ends_with_its_chunk(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(stack, monkeypatch, "deaf")
    job = long_chunk(stack)
    assert end_worker(stack) == 0
    assert chunk_of(stack, job).state == "done"


def test_a_stopped_job_stops_at_its_next_micro_batch(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    start(stack, monkeypatch)
    job = long_chunk(stack)
    # Paused: the micro-batch that was on its way is dropped, and no other one begins.
    assert act(stack, job, "pause")["state"] == "paused"
    let_through(stack, 3)
    wait_for("its worker was told", lambda: told_no(stack) == 1)
    assert (stack.job(job)["done"], chunk_of(stack, job).state) == (12, "waiting")
    assert stack.client().post(f"/v1/jobs/{job}/retry").status_code == 409
    # Resumed: it goes on where it was.
    let_through(stack, 3)
    act(stack, job, "resume")
    wait_for("it goes on", lambda: stack.job(job)["done"] > 12)
    # Cancelled: what is done stays, and its retry does the rest.
    cancelled = act(stack, job, "cancel")
    assert cancelled["state"] == "cancelled"
    let_through(stack, 3)
    wait_for("its worker was told", lambda: told_no(stack) == 2)
    assert stack.job(job)["done"] == cancelled["done"] < PRODUCTS
    let_through(stack, ALL)
    rest = stack.wait_job(act(stack, job, "retry")["id"])
    assert (rest["state"], rest["retry_of"]) == ("succeeded", job)
    assert rest["done"] == PRODUCTS - cancelled["done"]
    assert_index_is_the_catalogue(stack, PRODUCTS)


def test_control_a_worker_that_is_not_told_no_goes_on_with_a_cancelled_job(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(stack, monkeypatch, "stubborn")
    job = long_chunk(stack)
    act(stack, job, "cancel")
    let_through(stack, ALL)
    wait_for("it does the rest all the same", lambda: stack.job(job)["done"] == PRODUCTS)


def test_a_worker_ended_at_once_is_covered_too(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """M10's other half: SIGQUIT ends the child in the middle; who comes after takes the chunk over."""
    start(stack, monkeypatch)
    job = long_chunk(stack)
    worker = stack.processes["catalogue"]
    worker.send_signal(signal.SIGQUIT)
    wait_for("the worker has ended", lambda: worker.poll() is not None)
    let_through(stack, ALL)
    stack.start_one("catalogue")
    assert stack.wait_job(job)["counts"]["new"] == PRODUCTS
    assert_index_is_the_catalogue(stack, PRODUCTS)


def test_a_worker_that_hangs_is_replaced(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.env["VITRINE_JOBS__HANG_S"] = "8"
    start(stack, monkeypatch)
    parent, child = stack.processes["catalogue"].pid, stack.child_pid("catalogue")
    job = long_chunk(stack)
    wait_for("it is noticed", lambda: "it hangs" in stack.log("catalogue"))
    let_through(stack, ALL)
    assert stack.wait_job(job)["counts"]["new"] == PRODUCTS
    assert (stack.processes["catalogue"].pid, stack.processes["catalogue"].poll()) == (parent, None)
    assert stack.child_pid("catalogue") != child
    assert_index_is_the_catalogue(stack, PRODUCTS)
