"""A picture that always kills the process that looks at it: M05 of the fault matrix, with its control."""

from __future__ import annotations

import pytest

from tests import builders
from tests.faults.chunks import POISON_WIDTH_PX
from tests.faults.conftest import assert_index_is_the_catalogue
from tests.packing import archive, pictures
from tests.stack import COMMANDS, Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]

GOOD = 99
POISON = "p50-poison"


def run(stack: Stack, monkeypatch: pytest.MonkeyPatch, *traps: str) -> dict[str, object]:
    """One chunk with the poison in its middle; returns the job as it ended."""
    command = [
        "tests.faults.trapped_worker" if part == "worker.app" else part for part in COMMANDS["catalogue"]
    ]
    monkeypatch.setitem(COMMANDS, "catalogue", command)
    stack.env |= {"TRAPS": " ".join(("poison", *traps)), "VITRINE_JOBS__CHUNK_ITEMS": str(GOOD + 1)}
    stack.start()
    # Files go in by name: this one in the middle.
    files = {**pictures(GOOD), f"{POISON}.jpg": builders.jpeg(seed=500, width=POISON_WIDTH_PX, height=96)}
    parent = stack.processes["catalogue"].pid
    job = stack.wait_job(stack.import_folder("shop", archive(files)))
    assert stack.processes["catalogue"].poll() is None
    assert stack.processes["catalogue"].pid == parent
    return job


def test_the_guilty_one_is_given_up_and_the_other_99_of_its_chunk_get_done(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = run(stack, monkeypatch)
    assert (job["state"], job["done"]) == ("succeeded", GOOD + 1)
    page = stack.client().get(f"/v1/jobs/{job['id']}/failures").json()
    assert page["reasons"] == {"worker_lost": 1}
    assert [f["product_id"] for f in page["failures"]] == [POISON]
    # Its process died in company, then twice alone; the fourth time it was not looked at any more.
    assert stack.log("catalogue").count("ready:") == 4
    assert_index_is_the_catalogue(stack, GOOD)


def test_control_without_the_note_of_who_is_tried_the_rest_of_the_chunk_is_lost(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = run(stack, monkeypatch, "blameless")
    page = stack.client().get(f"/v1/jobs/{job['id']}/failures").json()
    assert set(page["reasons"]) == {"given_up"}
    assert page["reasons"]["given_up"] > 1
