"""Workers and their children die: M02, M03, M04 of the fault matrix, each with its control."""

from __future__ import annotations

import os
import signal

import pytest

from tests import builders
from tests.faults.chunks import freeze_in_a_chunk, held_chunk
from tests.faults.conftest import assert_index_is_the_catalogue
from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.stack import COMMANDS, Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]

PRODUCTS = 160


def small_shop(stack: Stack) -> None:
    stack.start()
    job = stack.wait_job(stack.import_folder("shop", archive(pictures(4))))
    assert job["counts"]["new"] == 4


def search_into_a_dead_worker(stack: Stack) -> str:
    """A search whose message a frozen worker takes before it is killed (M02)."""
    for _ in range(50):
        stack.freeze("search")
        accepted = stack.search(builders.jpeg(seed=1), "shop")
        assert accepted.status_code == 202
        search_id = str(accepted.json()["id"])
        # Redis hands a message to a connection that waits for one; a frozen worker's is one for a second.
        if stack.redis.client().llen("search") == 0:
            stack.kill("search")
            return search_id
        stack.signal("search", signal.SIGCONT)
        assert stack.wait_task(search_id)["state"] == "succeeded"
    raise AssertionError("no message was taken in fifty tries")


def test_a_message_taken_by_a_dead_worker_is_published_again(stack: Stack) -> None:
    small_shop(stack)
    search_id = search_into_a_dead_worker(stack)
    stack.start_one("search")
    assert stack.wait_task(search_id)["state"] == "succeeded"


def test_control_without_the_sweeper_such_a_search_waits_for_ever(stack: Stack) -> None:
    small_shop(stack)
    stack.kill("maintenance")
    search_id = search_into_a_dead_worker(stack)
    stack.start_again("search")
    stack.settle(5)
    assert stack.client().get(f"/v1/tasks/{search_id}").json()["state"] == "queued"


def test_a_worker_killed_in_the_middle_of_a_chunk(stack: Stack) -> None:
    stack.start()
    job = stack.import_folder("shop", archive(pictures(PRODUCTS)))
    freeze_in_a_chunk(stack, job)
    stack.kill("catalogue")
    stack.start_one("catalogue")
    done = stack.wait_job(job)
    assert (done["state"], done["counts"]["new"], done["counts"]["failed"]) == ("succeeded", PRODUCTS, 0)
    assert_index_is_the_catalogue(stack, PRODUCTS)


def test_control_without_lease_and_take_over_the_chunk_stays_lost(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What puts the chunk back in the two tests around this one: the worker's name, or its lease."""
    stack.env["VITRINE_JOBS__LEASE_S"] = "3600"
    stack.start()
    job = stack.import_folder("shop", archive(pictures(PRODUCTS)))
    held = freeze_in_a_chunk(stack, job)
    stack.kill("catalogue")
    other = [part.replace("catalogue@", "stranger@") for part in COMMANDS["catalogue"]]
    monkeypatch.setitem(COMMANDS, "catalogue", other)
    stack.start_one("catalogue")
    # It does the other chunks, and never the one that the dead worker holds.
    rest = PRODUCTS - held.waiting
    wait_for("the stranger has done all the others", lambda: stack.job(job)["done"] >= rest)
    stack.settle(5)
    after = stack.job(job)
    assert (after["state"], after["done"]) == ("running", rest)
    assert held_chunk(stack, job) == held


def test_only_the_child_of_the_pool_is_killed(stack: Stack) -> None:
    stack.start()
    parent = stack.processes["catalogue"].pid
    job = stack.import_folder("shop", archive(pictures(PRODUCTS)))
    freeze_in_a_chunk(stack, job)
    killed = stack.child_pid("catalogue")
    os.kill(killed, signal.SIGKILL)
    stack.signal("catalogue", signal.SIGCONT)
    done = stack.wait_job(job)
    assert (done["state"], done["counts"]["new"]) == ("succeeded", PRODUCTS)
    assert stack.processes["catalogue"].poll() is None
    assert stack.processes["catalogue"].pid == parent
    assert stack.child_pid("catalogue") != killed
    assert_index_is_the_catalogue(stack, PRODUCTS)
