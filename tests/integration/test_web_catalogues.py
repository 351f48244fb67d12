"""Catalogues, products, imports, jobs, images and status over HTTP."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image as Picture

from shared.broker.task_names import TaskName
from shared.errors import Refused
from shared.imports.kinds import UPLOADS
from shared.jobs.queue import JobQueue
from tests.web_builders import IMAGE_ID, Shop, open_shop, picture
from web.api.import_sources import resolve_source

ZIP = {"Content-Type": "application/zip"}
IMPORTS = "/v1/catalogues/winter/imports"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path / "shop", jobs={"import_roots": (str(tmp_path / "open"),)})


def test_a_catalogue_is_made_once(shop: Shop) -> None:
    for _ in range(2):
        made = shop.client.put("/v1/catalogues/winter", json={"currency": "NOK"})
        assert (made.status_code, made.json["name"], made.json["currency"]) == (200, "winter", "NOK")
    assert [c["name"] for c in shop.client.get("/v1/catalogues").json] == ["demo", "winter"]
    assert shop.client.get("/v1/catalogues/none").json["error"]["code"] == "unknown_catalogue"
    for name in ("Winter", "-w", "w" * 49, "a%20b", "..%2e"):
        assert shop.client.put(f"/v1/catalogues/{name}", json={}).status_code == 422


def test_a_catalogue_is_deleted_by_a_job(shop: Shop) -> None:
    answer = shop.client.delete("/v1/catalogues/demo")
    assert (answer.status_code, answer.json["kind"], answer.json["catalogue"]) == (202, "drop", "demo")
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"
    [(task, chunk)] = shop.publisher.published
    assert (task, chunk.partition(":")[0]) == (TaskName.WORK_CHUNK, answer.json["id"])
    assert shop.client.get("/v1/catalogues").json == []
    assert shop.client.get("/v1/catalogues/demo").status_code == 404
    again = shop.client.delete("/v1/catalogues/demo")
    assert (again.status_code, again.json["id"], len(shop.publisher.published)) == (202, answer.json["id"], 1)
    cancelled = shop.client.post(f"/v1/jobs/{answer.json['id']}/cancel", json={})
    assert (cancelled.status_code, cancelled.json["error"]["code"]) == (409, "conflict")
    assert shop.client.delete("/v1/catalogues/nothing").json["error"]["code"] == "unknown_catalogue"
    assert shop.client.delete("/v1/catalogues/A%20B").status_code == 422


def test_a_catalogue_that_is_worked_on_is_not_deleted(shop: Shop) -> None:
    job = shop.client.delete("/v1/catalogues/demo/products/chair-1").json["id"]
    refused = shop.client.delete("/v1/catalogues/demo")
    assert (refused.status_code, refused.json["error"]["code"]) == (409, "conflict")
    assert job in refused.json["error"]["message"]
    shop.client.post(f"/v1/jobs/{job}/cancel", json={})
    assert shop.client.delete("/v1/catalogues/demo").status_code == 202


def test_a_product_is_written_by_a_job(shop: Shop) -> None:
    form = {
        "product": '{"titles": {"en": "Chair"}, "price": "12.50", "currency": "EUR"}',
        "image": [(io.BytesIO(picture()), "../../x.jpg"), (io.BytesIO(picture(color=(1, 2, 3))), "椅子")],
    }
    answer = shop.client.put(
        "/v1/catalogues/demo/products/chair-2", data=form, content_type="multipart/form-data"
    )
    assert (answer.status_code, answer.json["kind"], answer.json["total"]) == (202, "put", 1)
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json['id']}"
    [(task, chunk)] = shop.publisher.published
    assert task == TaskName.WORK_CHUNK
    assert chunk.startswith(answer.json["id"])
    assert shop.client.get(answer.headers["Location"]).json["state"] == "queued"


@pytest.mark.parametrize(
    ("form", "status", "field"),
    [
        ({"product": "{", "image": (io.BytesIO(picture()), "a")}, 400, None),
        ({"product": '{"price": -1}', "image": (io.BytesIO(picture()), "a")}, 422, "price"),
        ({"product": '{"colour": 1}', "image": (io.BytesIO(picture()), "a")}, 422, "colour"),
        ({"product": "{}"}, 422, "image"),
        ({"product": "{}", "image": (io.BytesIO(b"<html>"), "a.jpg")}, 415, None),
        ({"image": (io.BytesIO(picture()), "a")}, 422, "product"),
    ],
)
def test_a_wrong_product_is_refused(
    shop: Shop, form: dict[str, object], status: int, field: str | None
) -> None:
    answer = shop.client.put("/v1/catalogues/demo/products/p", data=form, content_type="multipart/form-data")
    assert (answer.status_code, answer.json["error"]["field"]) == (status, field)
    assert shop.publisher.published == []


def test_product_ids_are_plain(shop: Shop) -> None:
    """Row B18: any characters that an address can carry, kept as they are."""
    for bad in ("x" * 129, "a%0Ab", "a/%2E%2E/b", "%20a"):
        assert shop.client.put(f"/v1/catalogues/demo/products/{bad}", json={}).status_code == 422, bad
    for good in ('a"b', "a%20or%20b", "a'b", "a%2Fb", "%3Fx=1%23y", "%E6%A4%85", "x" * 128):
        answer = shop.client.put(f"/v1/catalogues/demo/products/{good}", json={})
        assert answer.status_code == 202, good


def test_a_partial_change_is_checked_against_the_product_as_it_is(shop: Shop) -> None:
    address = "/v1/catalogues/demo/products/chair-1"
    answer = shop.client.patch(address, json={"price": "5", "titles": {"de": None}})
    assert (answer.status_code, answer.json["kind"]) == (202, "put")
    desk = JobQueue(shop.parts.database, "tester", 30.0, 4, 4)
    claim = desk.claim()
    assert claim is not None
    assert [item.payload for item in desk.items(claim)] == [
        {"patch": {"price": "5", "titles": {"de": None}}, "images": None}
    ]
    for wrong, status in (({"price": "dear"}, 422), ({"colour": "red"}, 422), ([], 422)):
        assert shop.client.patch(address, json=wrong).status_code == status, wrong
    assert shop.client.patch("/v1/catalogues/demo/products/nothing", json={}).status_code == 404


def test_products_are_read_and_deleted(shop: Shop) -> None:
    found = shop.client.get("/v1/catalogues/demo/products/chair-1").json
    assert found["images"][0]["url"] == f"/v1/images/{IMAGE_ID}"
    assert shop.client.delete("/v1/catalogues/demo/products/chair-1").json["kind"] == "delete"
    gone = shop.client.delete("/v1/catalogues/demo/products/nothing")
    assert (gone.status_code, gone.json["error"]["code"]) == (404, "unknown_product")


def test_an_archive_is_stored_then_a_job_then_a_ring(shop: Shop) -> None:
    data = b"PK\x03\x04" + os.urandom(3_000_000)
    answer = shop.client.post(IMPORTS, data=data, headers=ZIP)
    assert (answer.status_code, answer.json["kind"], answer.json["catalogue"]) == (202, "import", "winter")
    assert len(shop.publisher.published) == 1
    claim = JobQueue(shop.parts.database, "tester", 30.0, 4, 4).claim()
    assert claim is not None
    with shop.parts.store.open(claim.source["archive"], "imports") as stored:
        assert stored.read() == data


def test_the_same_import_twice_is_one_job_and_one_archive(shop: Shop) -> None:
    headers = {**ZIP, "Idempotency-Key": "nightly-1"}
    first, again = (shop.client.post(IMPORTS, data=b"PK\x05\x06" + b"x" * 64, headers=headers) for _ in "ab")
    assert first.json["id"] == again.json["id"]
    assert len(list(shop.parts.store.older_than("imports", -1))) == 1
    other = shop.client.post(IMPORTS, data=b"PK other", headers=headers)
    assert other.status_code == 409
    assert len(list(shop.parts.store.older_than("imports", -1))) == 1


def test_an_import_is_asked_for_with_options_in_either_form(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(exist_ok=True)
    sent = [
        shop.client.post(f"{IMPORTS}?mode=sync&dry_run=true&max_delete_share=0.1", data=b"PK1", headers=ZIP),
        shop.client.post(
            IMPORTS,
            json={"source": str(tmp_path / "open"), "mode": "sync", "dry_run": True, "max_delete_share": 0.1},
        ),
        shop.client.post(
            f"{IMPORTS}?mode=sync&dry_run=1", json={"source": str(tmp_path / "open"), "max_delete_share": 0.1}
        ),
    ]
    for answer in sent:
        assert answer.status_code == 202, answer.text
        options = {"mode": "sync", "dry_run": True, "repair": False, "max_delete_share": 0.1, "mapping": None}
        assert answer.json["options"] == options
    plain = shop.client.post(IMPORTS, data=b"PK2", headers=ZIP).json
    assert (plain["options"]["mode"], plain["options"]["dry_run"]) == ("upsert", False)
    for wrong in ("mode=all", "dry_run=maybe", "max_delete_share=2", "sync=true", "mode=sync&mode=upsert"):
        answer = shop.client.post(f"{IMPORTS}?{wrong}", data=b"PK", headers=ZIP)
        assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_input"), wrong


def test_an_idempotency_key_covers_the_options(shop: Shop) -> None:
    headers = {**ZIP, "Idempotency-Key": "nightly-2"}
    first = shop.client.post(f"{IMPORTS}?mode=sync", data=b"PK same", headers=headers)
    again = shop.client.post(f"{IMPORTS}?mode=sync", data=b"PK same", headers=headers)
    assert first.json["id"] == again.json["id"]
    assert shop.client.post(IMPORTS, data=b"PK same", headers=headers).status_code == 409


def test_a_reconciliation_is_a_job(shop: Shop) -> None:
    asked = shop.client.post("/v1/catalogues/demo/reconcile", json={"repair": True})
    assert (asked.status_code, asked.json["kind"], asked.json["options"]) == (
        202,
        "reconcile",
        {"repair": True},
    )
    assert shop.client.post("/v1/catalogues/demo/reconcile").json["options"] == {"repair": False}
    assert shop.client.post("/v1/catalogues/nothing/reconcile", json={}).status_code == 404
    assert shop.client.post("/v1/catalogues/demo/reconcile", json={"mend": 1}).status_code == 422


def test_an_archive_over_the_limit_leaves_nothing(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, jobs={"max_import_bytes": 2**20})
    answer = shop.client.post(IMPORTS, data=b"x" * (2**20 + 1), headers=ZIP)
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "body_too_large")
    assert list(shop.parts.store.older_than("imports", -1)) == []
    assert [c["name"] for c in shop.client.get("/v1/catalogues").json] == ["demo"]


def test_a_folder_is_read_only_under_the_roots(shop: Shop, tmp_path: Path) -> None:
    """Row B14."""
    (tmp_path / "open" / "goods").mkdir(parents=True)
    (tmp_path / "open-not").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "secret")
    allowed = shop.client.post(IMPORTS, json={"source": str(tmp_path / "open" / "goods")})
    assert allowed.status_code == 202
    for bad in (
        tmp_path / "secret",
        tmp_path / "open-not",
        tmp_path / "open" / "link",
        tmp_path / "open" / ".." / "secret",
        tmp_path / "open" / "missing",
        "open/goods",
        "/dev/zero",
    ):
        answer = shop.client.post(IMPORTS, json={"source": str(bad)})
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "refused"), bad
    cut_short = shop.client.post(IMPORTS, json={"source": f"{tmp_path}/open/goods\0"})
    assert (cut_short.status_code, cut_short.json["error"]["code"]) == (422, "invalid_input")
    with pytest.raises(Refused):
        resolve_source(f"{tmp_path}/open/goods\0", (str(tmp_path),), url_import=False)


def test_jobs_are_listed_paged_and_cancelled(shop: Shop) -> None:
    made = [shop.client.post(IMPORTS, data=b"PK" + bytes([n]), headers=ZIP).json["id"] for n in range(3)]
    assert [job["id"] for job in shop.client.get("/v1/jobs?limit=2").json] == made[:0:-1]
    assert shop.client.get("/v1/jobs?catalogue=demo").json == []
    assert shop.client.get(f"/v1/jobs/{made[0]}/failures").json == {
        "reasons": {},
        "failures": [],
        "next": None,
    }
    assert shop.client.post(f"/v1/jobs/{made[0]}/cancel").json["state"] == "cancelled"
    for path in ("/v1/jobs/none", "/v1/jobs/none/failures"):
        assert shop.client.get(path).json["error"]["code"] == "unknown_job"
    for limit in ("0", "-1", "1001", "x", "9" * 30):
        assert shop.client.get(f"/v1/jobs?limit={limit}").status_code == 422
    assert shop.client.get(f"/v1/jobs/{made[0]}/failures?after=x").status_code == 422


def test_images_are_served_small_and_cached_for_ever(shop: Shop) -> None:
    answer = shop.client.get(f"/v1/images/{IMAGE_ID}?size=96")
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert "immutable" in answer.headers["Cache-Control"]
    with Picture.open(io.BytesIO(answer.data)) as served:
        assert (served.format, served.size) == ("WEBP", (64, 48))
    again = shop.client.get(
        f"/v1/images/{IMAGE_ID}?size=96", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304
    assert shop.client.get(f"/v1/images/{'1' * 32}").status_code == 404
    assert shop.client.get(f"/v1/images/{IMAGE_ID}?size=97").status_code == 422


def test_status_and_readiness_say_what_is_missing(shop: Shop) -> None:
    ready = shop.client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json["ready"] is False
    assert ready.json["parts"]["database"] == "ok"
    assert ready.json["parts"]["image_store"] == "ok"
    assert "did not answer" in ready.json["parts"]["broker"]
    assert set(ready.json["parts"]) == {"database", "broker", "image_store"}, "what this process needs"
    ready.close()  # as servers do with an answer that is sent: only then it is counted
    assert shop.client.get("/v1/status").json["parts"]["search_worker"] != "ok"
    shop.parts.presence.write_heartbeat("search@here", "search", {"detector": "none"})
    assert shop.client.get("/v1/status").json["parts"]["search_worker"] == "ok"
    status = shop.client.get("/v1/status").json
    assert status["processes"][0]["details"] == {"detector": "none", "clock_skew_s": 0.0}
    assert status["queues"] == {"search": 0, "catalogue": 0}
    assert status["catalogues"][0]["name"] == "demo"
    metrics = shop.client.get("/metrics").text
    assert 'vitrine_processes{role="search"} 1.0' in metrics
    assert 'vitrine_http_requests_total{method="GET",route="/readyz",status="503"}' in metrics


@pytest.mark.parametrize("media", sorted(UPLOADS))
def test_every_kind_of_upload_is_streamed_into_the_store(tmp_path: Path, media: str) -> None:
    shop = open_shop(tmp_path, web={"max_body_bytes": 1_000})
    data = os.urandom(50_000)  # more than a body of another kind may have
    answer = shop.client.post(IMPORTS, data=data, headers={"Content-Type": media})
    assert answer.status_code == 202, answer.text
    claim = JobQueue(shop.parts.database, "tester", 30.0, 4, 4).claim()
    assert claim is not None
    assert claim.source["archive"].endswith(f"-upload.{UPLOADS[media]}")
    with shop.parts.store.open(claim.source["archive"], "imports") as stored:
        assert stored.read() == data
    other = shop.client.post(IMPORTS, data=data, headers={"Content-Type": "application/octet-stream"})
    assert other.status_code == 413


def test_a_prefix_of_s3_is_read_only_under_the_roots(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, jobs={"import_roots": ("s3://goods/winter/", "/srv/open")})
    for good in ("s3://goods/winter", "s3://goods/winter/chairs", "s3://goods/winter/a.csv"):
        assert shop.client.post(IMPORTS, json={"source": good}).status_code == 202, good
    for bad in (
        "s3://goods",
        "s3://goods/winter-not/a.csv",
        "s3://goods/winter/../summer",
        "s3://goods/winter//a",
        "s3://other/winter",
        "s3:/goods/winter",
    ):
        answer = shop.client.post(IMPORTS, json={"source": bad})
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "refused"), bad
    with pytest.raises(Refused):
        resolve_source("s3://goods/winter/a\0.csv", ("s3://goods/winter",), url_import=False)


def test_a_manifest_by_address_needs_the_setting(tmp_path: Path) -> None:
    address = {"source": "https://shop.example/products.csv?version=2"}
    off = open_shop(tmp_path / "off").client.post(IMPORTS, json=address)
    assert (off.status_code, off.json["error"]["code"]) == (403, "refused")
    shop = open_shop(tmp_path / "on", web={"url_import": True})
    assert shop.client.post(IMPORTS, json=address).status_code == 202
    picture = shop.client.post(IMPORTS, json={"source": "https://shop.example/chair.jpg"})
    assert (picture.status_code, picture.json["error"]["field"]) == (422, "source")
