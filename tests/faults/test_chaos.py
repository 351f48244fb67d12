"""Everything dies at random, by a seed: M01, with its control, and M13 of the fault matrix."""

from __future__ import annotations

import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.faults.conftest import assert_index_is_the_catalogue
from tests.packing import archive, pictures
from tests.servers import PATIENCE_S
from tests.stack import Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]

SEARCHES = 200
PRODUCTS = 200
KILLED_WORKERS = 6
KILLED_BROKERS = 3


def ask(stack: Stack, photos: list[bytes], accepted: list[str]) -> None:
    """Searches over half a minute; a 202 is a promise."""
    with httpx.Client(base_url=stack.url, timeout=PATIENCE_S) as client:
        for n in range(SEARCHES):
            answer = client.post(
                "/v1/searches",
                files={"image": ("photo.jpg", photos[n % len(photos)])},
                data={"catalogue": "shop", "top_k": "3"},
            )
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
            stack.settle(0.1)


def break_things(stack: Stack, chance: random.Random) -> None:
    """Freeze and kill workers, kill the broker; start each again a little later."""
    faults = ["search", "catalogue"] * (KILLED_WORKERS // 2) + ["redis"] * KILLED_BROKERS
    chance.shuffle(faults)
    for name in faults:
        stack.settle(chance.uniform(1.0, 3.0))
        if name == "redis":
            stack.redis.kill()
            stack.settle(chance.uniform(0.2, 1.0))
            stack.redis.start()
            continue
        stack.signal(name, signal.SIGSTOP)
        stack.settle(chance.uniform(0.3, 1.5))
        stack.kill(name)
        stack.start_one(name)


@pytest.mark.parametrize("seed", [1])
def test_every_accepted_search_and_the_import_end_and_nothing_is_doubled(stack: Stack, seed: int) -> None:
    stack.start()
    photos = pictures(8)
    assert stack.wait_job(stack.import_folder("shop", archive(photos)))["counts"]["new"] == 8
    accepted: list[str] = []
    job = stack.import_folder("shop", archive(pictures(PRODUCTS)))
    asking = threading.Thread(target=ask, args=(stack, list(photos.values()), accepted), daemon=True)
    asking.start()
    break_things(stack, random.Random(seed))
    asking.join()
    assert len(accepted) > SEARCHES * 0.9, "the web must accept searches while the broker is away"

    with ThreadPoolExecutor(4) as pool:
        tasks = list(pool.map(lambda task: stack.wait_task(task), accepted))
    states = [task["state"] for task in tasks]
    assert set(states) <= {"succeeded", "failed"}
    for task in tasks:
        if task["state"] == "failed":
            assert task["error"]["code"] == "worker_lost"
    assert states.count("succeeded") >= len(states) - KILLED_WORKERS

    done = stack.wait_job(job)
    assert done["state"] == "succeeded", done
    assert done["counts"]["failed"] == 0
    assert done["done"] == PRODUCTS
    assert_index_is_the_catalogue(stack, PRODUCTS)


def test_control_without_the_sweeper_the_same_faults_lose_work(stack: Stack) -> None:
    stack.start()
    photos = pictures(8)
    stack.wait_job(stack.import_folder("shop", archive(photos)))
    stack.kill("maintenance")
    stack.kill("catalogue")
    job = stack.import_folder("shop", archive(pictures(PRODUCTS)))
    # The dead worker held nothing that its successor would publish, and the broker forgets its message.
    stack.redis.wipe()
    stack.redis.start()
    stack.start_again("catalogue")
    stack.settle(5)
    assert stack.job(job)["state"] == "queued"


def test_a_broker_that_lost_everything_loses_no_search(stack: Stack) -> None:
    stack.start()
    photos = list(pictures(8).values())
    assert stack.wait_job(stack.import_folder("shop", archive(pictures(8))))["counts"]["new"] == 8
    stack.kill("search")
    accepted = [stack.search(photo, "shop").json()["id"] for photo in photos]
    errors: list[str] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(0.2):
            for task in accepted:
                answer = stack.client().get(f"/v1/tasks/{task}")
                if answer.status_code != 200:
                    errors.append(answer.text)

    polling = threading.Thread(target=poll, daemon=True)
    polling.start()
    stack.redis.wipe()
    stack.settle(1)
    stack.redis.start()
    stack.start_one("search")
    states = [stack.wait_task(task)["state"] for task in accepted]
    stop.set()
    polling.join()
    assert states == ["succeeded"] * len(photos)
    assert errors == []
