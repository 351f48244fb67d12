"""Workers and their children die: M02, M03, M04 of the fault matrix, each with its control."""

from __future__ import annotations

import os
import signal

import pytest

from tests import builders
from tests.faults.conftest import assert_index_is_the_catalogue
from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.stack import COMMANDS, Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]


def small_shop(stack: Stack) -> None:
    stack.start()
    job = stack.wait_job(stack.import_folder("shop", archive(pictures(4))))
    assert job["counts"]["new"] == 4


def search_into_a_frozen_worker(stack: Stack) -> str:
    """A search whose doorbell a frozen worker swallows before it is killed (M02)."""
    stack.signal("search", signal.SIGSTOP)
    accepted = stack.search(builders.jpeg(seed=1), "shop")
    assert accepted.status_code == 202
    # Redis has handed the message to the connection that was waiting for one.
    stack.settle(0.5)
    stack.kill("search")
    return str(accepted.json()["id"])


def test_a_doorbell_swallowed_by_a_dead_worker_is_rung_again(stack: Stack) -> None:
    small_shop(stack)
    search_id = search_into_a_frozen_worker(stack)
    stack.start_one("search")
    assert stack.wait_task(search_id, within_s=60)["state"] == "succeeded"


def test_control_without_the_sweeper_such_a_search_waits_for_ever(stack: Stack) -> None:
    small_shop(stack)
    stack.kill("maintenance")
    states = []
    for _ in range(5):
        starts = stack.log("search").count("ready:")
        search_id = search_into_a_frozen_worker(stack)
        stack.start_one("search")
        wait_for("the worker is back", lambda n=starts: stack.log("search").count("ready:") > n, 60)
        stack.settle(5)
        states.append(stack.client().get(f"/v1/tasks/{search_id}").json()["state"])
        if states[-1] == "queued":
            break
    assert states[-1] == "queued", "no doorbell was lost in five tries: the test above proves nothing"


def test_a_worker_killed_in_the_middle_of_a_chunk(stack: Stack) -> None:
    stack.start()
    job = stack.import_folder("shop", archive(pictures(160)))
    wait_for(
        "the job is under way", lambda: 4 < stack.client().get(f"/v1/jobs/{job}").json()["done"] < 150, 60
    )
    stack.kill("catalogue")
    stack.start_one("catalogue")
    done = stack.wait_job(job)
    assert (done["state"], done["counts"]["new"], done["counts"]["failed"]) == ("succeeded", 160, 0)
    assert_index_is_the_catalogue(stack, 160)


def test_control_without_lease_and_take_over_the_chunk_stays_lost(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What puts the chunk back in the two tests around this one: the worker's name, or its lease."""
    stack.env["VITRINE_JOBS__LEASE_S"] = "3600"
    stack.start()
    job = stack.import_folder("shop", archive(pictures(160)))
    wait_for(
        "the job is under way", lambda: 4 < stack.client().get(f"/v1/jobs/{job}").json()["done"] < 150, 60
    )
    stack.kill("catalogue")
    before = stack.client().get(f"/v1/jobs/{job}").json()
    other = [part.replace("catalogue@", "stranger@") for part in COMMANDS["catalogue"]]
    monkeypatch.setitem(COMMANDS, "catalogue", other)
    starts = stack.log("catalogue").count("ready:")
    stack.start_one("catalogue")
    wait_for("the stranger is ready", lambda: stack.log("catalogue").count("ready:") > starts, 60)
    stack.settle(15)
    after = stack.client().get(f"/v1/jobs/{job}").json()
    assert after["state"] == "running"
    # It does the other chunks, and never the one that the dead worker holds.
    assert before["done"] <= after["done"] < 160


def test_only_the_child_of_the_pool_is_killed(stack: Stack) -> None:
    stack.start()
    parent = stack.processes["catalogue"].pid
    job = stack.import_folder("shop", archive(pictures(160)))
    wait_for(
        "the job is under way", lambda: 4 < stack.client().get(f"/v1/jobs/{job}").json()["done"] < 150, 60
    )
    killed = stack.child_pid("catalogue")
    os.kill(killed, signal.SIGKILL)
    done = stack.wait_job(job)
    assert (done["state"], done["counts"]["new"]) == ("succeeded", 160)
    assert stack.processes["catalogue"].poll() is None
    assert stack.processes["catalogue"].pid == parent
    assert stack.child_pid("catalogue") != killed
    assert_index_is_the_catalogue(stack, 160)
