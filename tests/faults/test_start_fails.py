"""A worker whose child cannot start, because the database is away for the moment, tries again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.stack import Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]


def test_a_worker_that_could_not_start_tries_again_and_takes_no_work_meanwhile(stack: Stack) -> None:
    stack.env["VITRINE_DATABASE__BUSY_TIMEOUT_S"] = "1"
    stack.start("web", "maintenance")
    with closing(
        sqlite3.connect(Path(stack.env["VITRINE_DATA_DIR"]) / "vitrine.sqlite3", timeout=60)
    ) as held:
        held.isolation_level = None
        held.execute("BEGIN IMMEDIATE")
        stack.start_one("catalogue")
        wait_for("the child has given up once", lambda: "could not start" in stack.log("catalogue"))
        held.execute("ROLLBACK")
    wait_for("a later child is ready", lambda: "ready: detector" in stack.log("catalogue"))
    done = stack.wait_job(stack.import_folder("shop", archive(pictures(3))))
    assert (done["state"], done["counts"]["new"]) == ("succeeded", 3)
    assert "not started as a worker" not in stack.log("catalogue")
