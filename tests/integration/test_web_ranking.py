"""Boosts and calibration over HTTP: what is accepted, and what is refused before any job or search."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from shared.contracts import SearchOptions
from shared.database.tables import Calibration, IndexVersionRow
from tests.web_builders import Shop, open_shop, upload

PLACE = "/v1/catalogues/demo"
SALE = {"filter": 'tags contains "sale"', "factor": 1.2}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path / "shop")


def add_version(shop: Shop, number: int, state: str, curves: dict[str, Any] | None = None) -> None:
    with shop.parts.database.write() as session:
        version = IndexVersionRow(
            catalogue_id=1, number=number, collection=f"c{number}", alias="a", detector="none",
            embedder="e", dim=256, state=state, created_at=time.time(),
        )  # fmt: skip
        session.add(version)
        session.flush()
        if curves is not None:
            report = {"calibrated": bool(curves)}
            session.add(
                Calibration(index_version=version.id, curves=curves, report=report, created_at=time.time())
            )


def told(answer: TestResponse) -> Any:
    """What an answer says; mypy knows that it may say nothing."""
    return answer.json


def asked(shop: Shop) -> SearchOptions:
    return shop.desk().claim(1)[0].options


def test_boosts_are_set_shown_and_replaced(shop: Shop) -> None:
    assert shop.client.get(f"{PLACE}/boosts").json == {"boosts": []}
    answer = shop.client.put(f"{PLACE}/boosts", json={"boosts": [SALE]})
    assert (answer.status_code, answer.json) == (200, {"boosts": [SALE]})
    assert shop.client.get(f"{PLACE}/boosts").json == {"boosts": [SALE]}
    assert shop.client.put(f"{PLACE}/boosts", json={"boosts": []}).json == {"boosts": []}
    assert shop.client.get("/v1/catalogues/none/boosts").status_code == 404


@pytest.mark.parametrize(
    "boost",
    [
        {**SALE, "factor": 0.49},
        {**SALE, "factor": 2.01},
        {"filter": "price <", "factor": 1.5},
        {"filter": "", "factor": 1.5},
        {"factor": 1.5},
        {**SALE, "reason": "why not"},
    ],
)
def test_a_wrong_boost_is_refused_everywhere(shop: Shop, boost: dict[str, Any]) -> None:
    assert shop.client.put(f"{PLACE}/boosts", json={"boosts": [boost]}).status_code == 422
    assert shop.client.get(f"{PLACE}/boosts").json == {"boosts": []}
    for call in ({"json": {"product_id": "chair-1", "boosts": [boost]}}, upload(boosts=json.dumps([boost]))):
        assert shop.client.post("/v1/searches", **call).status_code == 422
    assert shop.desk().claim(1) == []


def test_at_most_eight_boosts(shop: Shop) -> None:
    assert shop.client.put(f"{PLACE}/boosts", json={"boosts": [SALE] * 8}).status_code == 200
    assert shop.client.put(f"{PLACE}/boosts", json={"boosts": [SALE] * 9}).status_code == 422


def test_a_search_carries_its_boosts_in_json_and_in_a_form(shop: Shop) -> None:
    for call in ({"json": {"product_id": "chair-1", "boosts": [SALE]}}, upload(boosts=json.dumps([SALE]))):
        assert shop.client.post("/v1/searches", **call).status_code == 202
        boosts = asked(shop).boosts
        assert boosts is not None
        assert [boost.model_dump() for boost in boosts] == [SALE]
    # None, and no boosts at all, are two wishes.
    shop.client.post("/v1/searches", json={"product_id": "chair-1"})
    assert asked(shop).boosts is None
    shop.client.post("/v1/searches", **upload(boosts="[]"))
    assert asked(shop).boosts == ()
    answer = shop.client.post("/v1/searches", **upload(boosts="tags"))
    assert answer.status_code == 422
    assert told(answer)["error"]["field"] == "boosts"


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
def test_a_probability_is_a_share(shop: Shop, wrong: float) -> None:
    answer = shop.client.post("/v1/searches", **upload(min_probability=wrong))
    assert answer.status_code == 422
    assert told(answer)["error"]["field"] == "min_probability"
    assert shop.client.post("/v1/searches", **upload(min_probability=0.8)).status_code == 202
    assert asked(shop).min_probability == 0.8


def test_a_calibration_is_a_job_of_an_index_that_is_there(shop: Shop) -> None:
    assert shop.client.post(f"{PLACE}/calibrate").status_code == 404
    add_version(shop, 1, "pruned")
    add_version(shop, 2, "live")
    assert shop.client.post(f"{PLACE}/calibrate", json={"index": 3}).status_code == 404
    assert shop.client.post(f"{PLACE}/calibrate", json={"index": 1}).status_code == 409
    answer = shop.client.post(f"{PLACE}/calibrate")
    assert answer.status_code == 202
    assert told(answer)["kind"] == "calibrate"
    assert shop.client.post(f"{PLACE}/calibrate").status_code == 409


def test_calibrations_are_listed_also_those_that_failed(shop: Shop) -> None:
    add_version(shop, 1, "retired", {"same": {}})
    add_version(shop, 2, "live", {})
    add_version(shop, 3, "ready")
    found = told(shop.client.get(f"{PLACE}/calibrations"))
    assert [(each["index"], each["live"], each["calibrated"]) for each in found] == [
        (2, True, False),
        (1, False, True),
    ]
