"""Index versions and golden queries over HTTP: what is accepted, and what is refused before any job."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest

from shared.database.tables import IndexVersionRow, Job
from tests.web_builders import Shop, open_shop, picture

PLACE = "/v1/catalogues/demo"
PASSED = {"gate": {"verdict": "passed", "checks": []}}
REFUSED = {"gate": {"verdict": "failed", "checks": []}}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path / "shop")


def add_version(shop: Shop, number: int, state: str, report: Any = None) -> None:
    with shop.parts.database.write() as session:
        session.add(
            IndexVersionRow(
                catalogue_id=1, number=number, collection=f"c{number}", alias="a", detector="none",
                embedder=f"e{number}", dim=256, state=state, report=report, created_at=time.time(),
                retired_at=float(number) if state == "retired" else None,
            )
        )  # fmt: skip


def post(shop: Shop, what: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = shop.client.post(f"{PLACE}/{what}", json=body)
    return answer.status_code, answer.json


def job_of(shop: Shop, answer: dict[str, Any]) -> tuple[str, int | None, dict[str, Any]]:
    with shop.parts.database.read() as session:
        row = session.get_one(Job, answer["id"])
        return row.kind, row.index_version, row.options


def end(shop: Shop, answer: dict[str, Any]) -> None:
    shop.parts.jobs.cancel(answer["id"])


def test_versions_are_listed_the_newest_first(shop: Shop) -> None:
    add_version(shop, 1, "live")
    add_version(shop, 2, "ready", PASSED)
    listed = shop.client.get(f"{PLACE}/indexes").json
    assert [(each["number"], each["state"], each["images"]) for each in listed] == [
        (2, "ready", 0),
        (1, "live", 0),
    ]
    assert listed[0]["report"] == PASSED
    assert shop.client.get("/v1/catalogues/none/indexes").status_code == 404


def test_one_reprocess_at_a_time(shop: Shop) -> None:
    add_version(shop, 1, "live")
    status, job = post(shop, "reprocess", embedder="other", promote="auto")
    assert status == 202
    kind, _, options = job_of(shop, job)
    assert (kind, options["embedder"], options["scope"]) == ("reprocess", "other", "all")
    assert post(shop, "reprocess")[0] == 409
    assert post(shop, "rebuild")[0] == 202
    end(shop, job)
    assert post(shop, "reprocess")[0] == 409, "a rebuild is going on"


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "some"},
        {"promote": "maybe"},
        {"embedder": "other", "filter": 'category = "Chair"'},
        {"filter": "category ="},
        {"model": "other"},
    ],
)
def test_what_no_job_could_do_is_refused_at_once(shop: Shop, body: dict[str, Any]) -> None:
    assert post(shop, "reprocess", **body)[0] == 422


def test_only_what_the_gate_passed_is_promoted_unless_forced(shop: Shop) -> None:
    add_version(shop, 1, "live")
    assert post(shop, "promote")[0] == 404
    add_version(shop, 2, "ready", REFUSED)
    assert post(shop, "promote")[0] == 409
    status, job = post(shop, "promote", force=True)
    assert (status, job_of(shop, job)) == (202, ("promote", 2, {"force": True}))
    assert post(shop, "promote", index=1)[0] == 409
    assert post(shop, "promote", index=9)[0] == 404


def test_rollback_goes_to_the_one_retired_last(shop: Shop) -> None:
    for number, state in ((1, "retired"), (2, "retired"), (3, "live")):
        add_version(shop, number, state)
    assert job_of(shop, post(shop, "rollback")[1])[:2] == ("rollback", 2)
    assert job_of(shop, post(shop, "rollback", index=1)[1])[:2] == ("rollback", 1)
    assert post(shop, "rollback", index=3)[0] == 409


def test_what_is_live_or_worked_on_is_not_pruned(shop: Shop) -> None:
    add_version(shop, 1, "retired")
    add_version(shop, 2, "live")
    assert post(shop, "prune", index=2)[0] == 409
    _, rebuild = post(shop, "rebuild", index=1)
    assert post(shop, "prune", index=1)[0] == 409
    end(shop, rebuild)
    assert job_of(shop, post(shop, "prune", index=1)[1])[:2] == ("prune", 1)
    assert job_of(shop, post(shop, "prune", all=True)[1]) == ("prune", None, {"all": True})


def golden(shop: Shop, photo: bytes, **fields: str) -> Any:
    form = {"image": (io.BytesIO(photo), "photo.jpg"), **fields}
    return shop.client.post(f"{PLACE}/golden", data=form)


def test_golden_queries_are_kept_once_and_removed_with_their_photo(shop: Shop) -> None:
    photo = picture(color=(9, 9, 9))
    made = golden(shop, photo, product_id="chair-1", box="0.1,0.1,0.9,0.9")
    assert (made.status_code, made.json["box"]) == (201, [0.1, 0.1, 0.9, 0.9])
    again = golden(shop, photo, product_id="chair-1")
    listed = shop.client.get(f"{PLACE}/golden").json
    assert [each["id"] for each in listed] == [again.json["id"]]
    key = shop.parts.store.put(photo, "golden")
    assert shop.client.delete(f"{PLACE}/golden/{again.json['id']}").status_code == 204
    assert shop.client.get(f"{PLACE}/golden").json == []
    assert not shop.parts.store.exists(key, "golden")
    assert shop.client.delete(f"{PLACE}/golden/{again.json['id']}").status_code == 404


def test_bad_golden_queries_are_refused(shop: Shop) -> None:
    assert golden(shop, picture(), product_id="none").status_code == 404
    assert golden(shop, b"no picture", product_id="chair-1").status_code == 415
    assert golden(shop, picture(), product_id="chair-1", box="0.9,0.1,0.1,0.9").status_code == 422
    assert golden(shop, picture()).status_code == 422
    assert shop.client.get(f"{PLACE}/golden").json == []
