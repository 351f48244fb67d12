"""`vitrine catalogues` against a real web application, whose jobs the test does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cli.main import app
from shared.jobs.plan import write_plan
from shared.jobs.queue import JobQueue
from tests.servers import wait_for
from tests.web_builders import Shop, open_shop, serving


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    opened = open_shop(tmp_path)
    with serving(opened) as address:
        monkeypatch.setenv("VITRINE_URL", address)
        yield opened


def vitrine(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, [*words], standalone_mode=False, catch_exceptions=True, input=typed)


def end_jobs(shop: Shop, count: int) -> None:
    """Stand for the worker: end so many jobs as soon as they come."""
    database = shop.parts.database
    desk = JobQueue(database, "tester", 60.0, 4, 4)
    for _ in range(count):
        claim = wait_for("a chunk waits", desk.claim)
        write_plan(desk, database, claim, [], 4)
        desk.finish(claim)


def test_they_are_made_listed_and_deleted(shop: Shop) -> None:
    made = json.loads(vitrine("catalogues", "create", "winter", "--currency", "NOK", "--json").stdout)
    assert (made["name"], made["currency"], made["products"]) == ("winter", "NOK", 0)
    assert "NOK" in vitrine("catalogues", "create", "winter").stderr
    shown = vitrine("catalogues", "list").stdout
    assert "demo" in shown
    assert "winter" in shown
    working = threading.Thread(target=end_jobs, args=(shop, 1), daemon=True)
    working.start()
    deleted = vitrine("catalogues", "delete", "winter", "--yes", "--json")
    working.join()
    assert deleted.return_value == 0
    job = json.loads(deleted.stdout)
    assert (job["kind"], job["state"], job["catalogue"]) == ("drop", "succeeded", "winter")
    found = json.loads(vitrine("catalogues", "list", "--json").stdout)
    assert [each["name"] for each in found] == ["demo"]


def test_deleting_is_asked_for_first(shop: Shop) -> None:
    refused = vitrine("catalogues", "delete", "demo", typed="n\n")
    assert isinstance(refused.exception, click.Abort)
    assert isinstance(vitrine("catalogues", "delete", "demo", "--json").exception, click.UsageError)
    assert [c.name for c in shop.parts.catalogue.list_catalogues()] == ["demo"]
    working = threading.Thread(target=end_jobs, args=(shop, 1), daemon=True)
    working.start()
    assert vitrine("catalogues", "delete", "demo", typed="y\n").return_value == 0
    working.join()
    assert shop.parts.catalogue.list_catalogues() == []
