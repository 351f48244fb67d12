"""A calibration that nobody asked for is made although the maintenance process dies where it would begin."""

from __future__ import annotations

from typing import Any

import pytest

from tests.packing import archive, pictures
from tests.servers import wait_for
from tests.stack import Stack

pytestmark = [pytest.mark.services, pytest.mark.faults]

PRODUCTS = 12


def calibrations(stack: Stack) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = stack.client().get("/v1/jobs").json()
    return [job for job in jobs if job["kind"] == "calibrate"]


def ended(stack: Stack) -> bool:
    return [job["state"] for job in calibrations(stack)] == ["succeeded"]


def test_it_is_made_once_whoever_dies(stack: Stack) -> None:
    stack.env["VITRINE_CALIBRATION__MIN_PRODUCTS"] = str(PRODUCTS)
    # The control: a maintenance process that is told not to make any.
    stack.start()
    stack.wait_job(stack.import_folder("shop", archive(pictures(PRODUCTS))))
    stack.settle(5)
    assert calibrations(stack) == []

    # It dies with nothing made; two take its place at the same time, and die too.
    stack.kill("maintenance")
    stack.env["VITRINE_CALIBRATION__AUTO"] = "true"
    stack.start_one("maintenance")
    stack.processes["maintenance too"] = stack.processes["maintenance"]
    stack.start_one("maintenance")
    wait_for("a calibration is made", lambda: calibrations(stack))
    assert calibrations(stack)[0]["options"] == {"origin": "system"}
    stack.kill("maintenance")
    stack.kill("maintenance too")

    stack.start_one("maintenance")
    wait_for("it has ended", lambda: ended(stack))
    known = stack.client().get("/v1/catalogues/shop/calibrations").json()
    assert [each["index"] for each in known] == [1]
