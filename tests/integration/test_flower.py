"""Flower shows real tasks under the ids that clients poll, to those who have its password (B23)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests import builders
from tests.packing import archive, pictures
from tests.servers import free_port, wait_for
from tests.stack import Stack

pytestmark = pytest.mark.services


def test_flower_shows_a_search_under_its_id_behind_its_password(stack: Stack) -> None:
    port = free_port()
    stack.env |= {"VITRINE_FLOWER__PORT": str(port), "VITRINE_FLOWER__PASSWORD": "only-a-test"}
    stack.start()
    stack.start_one("flower")
    url = f"http://127.0.0.1:{port}"

    def flower(path: str, password: str | None = "only-a-test") -> httpx.Response | None:
        try:
            return httpx.get(url + path, auth=("vitrine", password) if password else None, timeout=60)
        except httpx.HTTPError:
            return None

    wait_for("Flower answers", lambda: flower("/healthcheck"))
    for path in ("/", "/tasks", "/api/tasks", "/api/workers"):
        for password in (None, "wrong"):
            refused = flower(path, password)
            assert refused is not None
            assert refused.status_code == 401, path

    def workers_seen() -> bool:
        answer = flower("/api/workers?refresh=true")
        return answer is not None and answer.status_code == 200 and "search@" in answer.text

    wait_for("Flower knows the workers", workers_seen, every_s=1)
    stack.wait_job(stack.import_folder("shop", archive(pictures(2))))
    search = stack.search(builders.jpeg(seed=1), "shop").json()["id"]
    assert stack.wait_task(search)["state"] == "succeeded"

    def shown() -> dict[str, Any] | None:
        answer = flower("/api/tasks")
        tasks: dict[str, Any] = answer.json() if answer is not None and answer.status_code == 200 else {}
        task: dict[str, Any] | None = tasks.get(search)
        return task if task is not None and task["state"] == "SUCCESS" else None

    task = wait_for("Flower shows the search", shown, every_s=0.5)
    assert task["name"] == "search.answer"
    assert "only-a-test" not in stack.log("flower")
