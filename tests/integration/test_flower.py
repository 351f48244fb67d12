"""Flower shows each search under the id that its client polls, and lets nobody change anything."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from shared.settings.groups import FlowerSettings
from tests import builders
from tests.packing import archive, pictures
from tests.servers import free_port, wait_for
from tests.stack import Stack
from worker.flower import choose_password

pytestmark = pytest.mark.services

PASSWORD = "only-a-test,with:marks"
BURST = 6
#: What Flower can be asked to do, each refused: it is read-only.
CHANGES = (
    "/api/task/revoke/{task}?terminate=true",
    "/api/task/async-apply/search.answer",
    "/api/task/send-task/search.answer",
    "/api/worker/shutdown/{worker}",
    "/api/worker/pool/shrink/{worker}?n=1",
    "/api/worker/queue/cancel-consumer/{worker}?queue=search",
)


class FlowerClient:
    """Asks a Flower below the path ``/watch``."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    def get(self, path: str, password: str | None = PASSWORD) -> httpx.Response | None:
        return self._asked(lambda: httpx.get(self.root + path, auth=_auth(password), timeout=60))

    def post(self, path: str) -> httpx.Response | None:
        return self._asked(lambda: httpx.post(self.root + path, json={}, auth=_auth(PASSWORD), timeout=60))

    def task(self, task_id: str, state: str) -> dict[str, Any]:
        """Return a task once Flower shows it in ``state``."""

        def shown() -> dict[str, Any] | None:
            answer = self.get("/watch/api/tasks?limit=1000")
            tasks: dict[str, Any] = answer.json() if answer is not None and answer.is_success else {}
            task: dict[str, Any] | None = tasks.get(task_id)
            return task if task is not None and task["state"] == state else None

        return wait_for(f"Flower shows {task_id} as {state}", shown, every_s=0.5)

    @staticmethod
    def _asked(call: Callable[[], httpx.Response]) -> httpx.Response | None:
        try:
            return call()
        except httpx.HTTPError:
            return None


def _auth(password: str | None) -> tuple[str, str] | None:
    return ("vitrine", password) if password else None


def status_of(answer: httpx.Response | None) -> int:
    assert answer is not None
    return answer.status_code


def test_flower_shows_every_search_and_changes_nothing(stack: Stack) -> None:
    port = free_port()
    stack.env |= {
        "VITRINE_FLOWER__PORT": str(port),
        "VITRINE_FLOWER__PASSWORD": PASSWORD,
        "VITRINE_FLOWER__URL_PREFIX": "/watch",
    }
    stack.start()
    stack.start_one("flower")
    flower = FlowerClient(port)
    wait_for("Flower answers", lambda: flower.get("/watch/healthcheck", None))
    for path in ("/", "/tasks", "/api/tasks", "/api/workers", "/metrics"):
        for password in (None, "wrong", "only-a-test"):
            assert status_of(flower.get(f"/watch{path}", password)) == 401, path
    assert status_of(flower.get("/api/tasks")) == 404, "all of it is below the prefix"

    def worker_name() -> str | None:
        answer = flower.get("/watch/api/workers?refresh=true")
        names = answer.json() if answer is not None and answer.is_success else {}
        return next((name for name in names if name.startswith("search@")), None)

    worker = wait_for("Flower knows the search worker", worker_name, every_s=1)

    job = stack.import_folder("shop", archive(pictures(2)))
    stack.wait_job(job)
    chunk = flower.task(f"{job}:0", "SUCCESS")
    assert chunk["name"] == "catalogue.work_chunk"
    for label in (job, "'kind': 'import'", "'catalogue': 'shop'"):
        assert label in chunk["kwargs"]

    def search(seed: int) -> str:
        return str(stack.search(builders.jpeg(seed=seed), "shop").json()["id"])

    # They wait together, so that one task answers the others' searches too.
    stack.freeze("search")
    with ThreadPoolExecutor(BURST) as shoppers:
        searches = list(shoppers.map(search, range(BURST)))
    cancelled = search(BURST)
    stack.client().delete(f"/v1/tasks/{cancelled}")
    stack.signal("search", signal.SIGCONT)
    for search_id in searches:
        assert stack.wait_task(search_id)["state"] == "succeeded"
        task = flower.task(search_id, "SUCCESS")
        assert (task["name"], "succeeded" in task["result"]) == ("search.answer", True)
        assert task["runtime"] > 0

    flower.task(cancelled, "REVOKED")
    assert stack.client().put("/v1/catalogues/empty").is_success
    failing = str(stack.search(builders.jpeg(seed=1), "empty").json()["id"])
    code = stack.wait_task(failing)["error"]["code"]
    assert code in flower.task(failing, "FAILURE")["exception"]
    page = flower.get(f"/watch/task/{failing}")
    assert page is not None
    assert code in page.text
    assert "FAILURE" in page.text

    for change in CHANGES:
        refused = flower.post("/watch" + change.format(task=searches[0], worker=worker))
        assert status_of(refused) == 403, change
    assert stack.wait_task(search(9))["state"] == "succeeded", "the worker was not stopped"
    metrics = flower.get("/watch/metrics")
    assert metrics is not None
    assert "search.answer" in metrics.text
    assert PASSWORD not in stack.log("flower")


@pytest.mark.parametrize("password", [None, "", "eleven-char"])
def test_beyond_loopback_a_missing_or_short_password_is_refused(password: str | None) -> None:
    with pytest.raises(SystemExit, match="VITRINE_FLOWER__PASSWORD"):
        choose_password(FlowerSettings(host="0.0.0.0", password=password))
    assert choose_password(FlowerSettings(host="127.0.0.1", password=password)), "the control"


def test_beyond_loopback_a_long_password_is_taken() -> None:
    assert choose_password(FlowerSettings(host="0.0.0.0", password="twelve-chars")) == "twelve-chars"
