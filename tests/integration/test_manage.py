"""The owner's pages without a browser: what they show, what forms do, and what bad input is told."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from shared.catalogue.ranking import RankingRepository
from shared.contracts.search import Boost
from shared.database.tables import Calibration, IndexVersionRow
from tests.manage_builders import PAGE, add_version, done, dropped, job_at, see, send
from tests.web_builders import IMAGE_ID, Shop, open_shop
from web.i18n.error_texts import describe_failure

KEY = "a-long-secret-key"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path)


def test_the_start_page_shows_catalogues_and_makes_them(shop: Shop) -> None:
    text = see(shop, "/manage")
    assert "demo" in text
    assert "1 product, 1 picture" in re.sub(r"\s+", " ", text)
    answer = send(shop, "/manage/catalogues", name="winter", currency="USD")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/manage/catalogues/winter")
    assert shop.parts.catalogue.get("winter").currency == "USD"
    assert "This catalogue is empty" in see(shop, "/manage/catalogues/winter/products")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "Winter!"}, "lowercase letters"),
        ({}, "lowercase letters"),
        ({"name": "demo"}, "A catalogue with this name already exists"),
        ({"name": "w", "currency": "euro"}, "three capital letters"),
        ({"name": "w", "evil": "1"}, "evil"),
    ],
)
def test_a_wrong_new_catalogue_is_explained_beside_the_form(
    shop: Shop, fields: dict[str, str], says: str
) -> None:
    answer = send(shop, "/manage/catalogues", **fields)
    assert answer.status_code == 422
    assert says in answer.text
    assert 'role="alert"' in answer.text
    assert f'value="{fields.get("name", "")}"' in answer.text, "what was typed is not lost"
    assert [c.name for c in shop.parts.catalogue.list_catalogues()] == ["demo"]


def test_products_are_found_by_id_and_by_title_in_any_language(shop: Shop) -> None:
    for query in ("CHAIR-", "eichen", "oak ch", ""):
        assert "chair-1" in see(shop, f"/manage/catalogues/demo/products?q={query}"), query
    for query in ("sofa", "%25", "_hair", "'"):
        assert "No product has" in see(shop, f"/manage/catalogues/demo/products?q={query}"), query
    assert "no more products" in see(shop, "/manage/catalogues/demo/products?after=zzz")
    assert "Go back" in see(shop, "/manage/catalogues/nothing/products", 404)


def test_a_product_shows_its_picture_and_is_deleted_by_a_form(shop: Shop) -> None:
    text = see(shop, "/manage/catalogues/demo/products/chair-1")
    assert f'href="/v1/images/{IMAGE_ID}?size=640"' in text
    assert "Eichenstuhl" in text
    answer = send(shop, "/manage/catalogues/demo/products/chair-1/delete")
    job = job_at(answer)
    assert shop.parts.jobs.status(job).kind == "delete"
    assert [row.partition(":")[0] for _, row in shop.publisher.published] == [job]
    see(shop, "/manage/catalogues/demo/products/nothing", 404)


def test_an_import_is_checked_first_and_then_started_without_sending_it_again(shop: Shop) -> None:
    assert 'enctype="multipart/form-data"' in see(shop, "/manage/import?catalogue=demo")
    answer = send(
        shop, "/manage/imports", catalogue="winter", file=dropped(), mode="sync", dry_run="true",
        max_delete_share="0.25",
    )  # fmt: skip
    job = job_at(answer)
    options = shop.parts.jobs.status(job).options
    assert (options["mode"], options["dry_run"], options["max_delete_share"]) == ("sync", True, 0.25)
    archive = shop.parts.jobs.archive(job)
    assert archive is not None
    with shop.parts.store.open(archive, "imports") as file:
        assert file.read() == b"PK..."
    early = send(shop, f"/manage/jobs/{job}/start")
    assert early.status_code == 409
    assert "wait for it, or start another import" in early.text
    done(shop, job, bad=0)
    started = job_at(send(shop, f"/manage/jobs/{job}/start"))
    assert started == job_at(send(shop, f"/manage/jobs/{job}/start")), "pressed twice"
    assert shop.parts.jobs.archive(started) == archive
    assert shop.parts.jobs.status(started).options["dry_run"] is False
    assert "not a dry run" in send(shop, f"/manage/jobs/{started}/start").text
    shop.parts.store.delete(archive, "imports")
    assert send(shop, f"/manage/jobs/{job}/start").status_code == 410


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"catalogue": "demo"}, 422, "Choose a file"),
        ({"catalogue": "Demo!", "file": dropped()}, 422, "Enter a catalogue name"),
        ({"catalogue": "demo", "file": dropped("photo.heic")}, 415, "photo.heic cannot be imported"),
        ({"catalogue": "demo", "file": dropped(data=b""), "x": ""}, 422, "empty"),
        ({"catalogue": "demo", "file": dropped("m.csv"), "mode": "all"}, 422, "mode"),
        ({"catalogue": "demo", "source": "/etc/passwd"}, 403, "import roots"),
    ],
)
def test_a_wrong_import_is_explained_and_makes_no_job(
    shop: Shop, fields: dict[str, object], status: int, says: str
) -> None:
    answer = send(shop, "/manage/imports", **fields)
    assert answer.status_code == status
    assert says in answer.text
    assert 'id="catalogue"' in answer.text
    assert shop.parts.jobs.list_recent() == []


def test_a_job_shows_what_failed_and_tries_it_again(shop: Shop) -> None:
    job = job_at(send(shop, "/manage/imports", catalogue="demo", file=dropped()))
    text = see(shop, f"/manage/jobs/{job}")
    assert f'data-events="/v1/jobs/{job}/events"' in text
    done(shop, job)
    text = see(shop, f"/manage/jobs/{job}")
    assert "data-events" not in text
    assert "It is gone." in text
    assert "a&lt;b&gt;.jpg" in text
    assert f'src="/v1/images/{IMAGE_ID}?size=96"' in text, "the product is there, with a picture"
    assert f"/v1/jobs/{job}/failures.csv" in text
    assert job in see(shop, "/manage/jobs?catalogue=demo")
    again = job_at(send(shop, f"/manage/jobs/{job}/retry", reason="missing_image"))
    assert shop.parts.jobs.status(again).retry_of == job
    wrong = send(shop, f"/manage/jobs/{job}/retry", reason="other")
    assert wrong.status_code == 409
    assert "Go back" in wrong.text


def test_why_pictures_failed_is_said_in_the_readers_language(shop: Shop) -> None:
    job = job_at(send(shop, "/manage/imports", catalogue="demo", file=dropped()))
    done(shop, job, bad=1)
    words = shop.app.test_client().get(f"/manage/jobs/{job}", headers={**PAGE, "Accept-Language": "de"}).text
    with shop.app.test_request_context(headers={"Accept-Language": "de"}):
        failure_text = describe_failure("missing_image")
        assert describe_failure("invalid_price") == "", "its message names the price, which no sentence does"
    assert failure_text in words
    assert "Bild" in failure_text
    assert "It is gone." in words
    with shop.app.test_request_context():
        assert describe_failure("missing_image") == ""


def test_a_job_is_paused_resumed_and_cancelled(shop: Shop) -> None:
    job = job_at(send(shop, "/manage/imports", catalogue="demo", file=dropped()))
    for action, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert job_at(send(shop, f"/manage/jobs/{job}/{action}")) == job
        assert shop.parts.jobs.status(job).state == state
        see(shop, f"/manage/jobs/{job}")
    assert send(shop, f"/manage/jobs/{job}/pause").status_code == 409
    assert send(shop, f"/manage/jobs/{job}/explode").status_code == 404
    see(shop, "/manage/jobs/nothing", 404)


def test_a_catalogue_is_deleted_once_its_name_was_typed(shop: Shop) -> None:
    assert "Type its name, demo" in see(shop, "/manage/catalogues/demo")
    wrong = send(shop, "/manage/catalogues/demo/delete", name="dem")
    assert (wrong.status_code, "Nothing was deleted" in wrong.text) == (422, True)
    assert shop.parts.catalogue.get("demo").products == 1
    job = job_at(send(shop, "/manage/catalogues/demo/delete", name="demo"))
    assert "demo" in see(shop, f"/manage/jobs/{job}")
    assert "There is no catalogue yet" in see(shop, "/manage")


def test_another_site_posts_nothing(shop: Shop) -> None:
    headers = {"Accept": "text/html", "Origin": "https://evil.example"}
    for path in ("/manage/catalogues", "/manage/imports", "/manage/catalogues/demo/indexes/prune"):
        assert shop.client.post(path, data={"name": "x"}, headers=headers).status_code == 403, path
    assert [c.name for c in shop.parts.catalogue.list_catalogues()] == ["demo"]


def test_every_page_of_the_owner_needs_the_key(tmp_path: Path) -> None:
    locked = open_shop(tmp_path, web={"api_key": KEY})
    rules = [r for r in locked.app.url_map.iter_rules() if r.rule.startswith(("/manage", "/operations"))]
    assert len(rules) > 10
    for rule in rules:
        path = re.sub(r"<int:[^<>]+>", "1", rule.rule)
        path = re.sub(r"<[^<>]+>", "demo", path)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            answer = locked.client.open(path, method=method, headers=PAGE)
            assert answer.status_code == 401, (method, path)
            assert "Sign in" in answer.text
    client = locked.client
    client.post("/sign-in", data={"key": KEY}, headers=PAGE)
    assert "Sign out" in client.get("/manage", headers=PAGE).text


def test_a_program_gets_the_usual_shape(shop: Shop) -> None:
    answer = shop.client.get("/manage/jobs/nothing")
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["error"]["code"] == "unknown_job"


def test_a_catalogue_says_what_its_scores_mean_and_what_comes_first(shop: Shop) -> None:
    page = "/manage/catalogues/demo"
    add_version(shop, 1, "live")
    text = see(shop, page)
    assert "Not calibrated for this catalogue yet" in text
    assert "Products are ranked by similarity alone" in text
    assert "vitrine boosts demo --set" in text

    job = job_at(send(shop, f"{page}/calibrate"))
    assert shop.parts.jobs.status(job).kind == "calibrate"
    text = see(shop, page)
    assert f"/manage/jobs/{job}" in text
    assert "Calibrate scores" not in text, "one at a time"
    refused = send(shop, f"{page}/calibrate")
    assert refused.status_code == 409
    shop.parts.jobs.cancel(job)
    assert "Calibrate scores" in see(shop, page)

    learnt(shop, {"why_not": "It has 3 products with <b>pictures</b>."}, curves={})
    text = see(shop, page)
    assert "Too little data to calibrate" in text
    assert "3 products with &lt;b&gt;pictures" in text
    first = {"object": {"first": {"ece": 0.0184}}, "whole": {"first": {"ece": None}}}
    learnt(shop, {"same": first}, curves={"same": {}})
    assert "Mean error of the best match: 1.8 % for an object, – for a whole photo." in see(shop, page)

    wanted = [Boost(filter='category = "Chairs" and price < 50', factor=1.25)]
    RankingRepository(shop.parts.database).set_boosts("demo", wanted)
    text = see(shop, page)
    assert "category = &#34;Chairs&#34; and price &lt; 50" in text
    assert "× 1.25" in text
    assert "Products are ranked by similarity alone" not in text


def learnt(shop: Shop, report: dict[str, object], curves: dict[str, object]) -> None:
    """Put down what a job would have found out about the live version."""
    with shop.parts.database.write() as session:
        version = session.scalar(select(IndexVersionRow.id).where(IndexVersionRow.state == "live"))
        session.merge(
            Calibration(index_version=version, curves=curves, report=report, created_at=time.time())
        )
