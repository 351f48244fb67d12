"""A caller, and a catalogue, may have so many jobs waiting and no more (M1); the rest is refused clearly."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from shared.contracts import ProductIn
from shared.contracts.states import JobKind
from shared.database.catalogue_rows import find_catalogue
from shared.database.idempotency import Idempotent
from shared.database.tables import Job
from shared.errors import Overloaded
from shared.jobs.create import add_job
from shared.jobs.queue import JobQueue
from shared.jobs.states import BACKGROUND
from tests.web_builders import Shop, open_shop, picture

LIMIT = 5


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, jobs={"max_waiting": LIMIT})


def put(shop: Shop, product: str, catalogue: str = "demo") -> tuple[int, dict[str, str], str]:
    answer = shop.client.put(
        f"/v1/catalogues/{catalogue}/products/{product}", json={"titles": {"en": product}}
    )
    message = "" if answer.status_code == 202 else answer.get_json()["error"]["message"]
    return answer.status_code, dict(answer.headers), message


def begin_one(shop: Shop) -> None:
    assert JobQueue(shop.parts.database, "one", 60.0, 4, 2).claim() is not None


def test_a_flood_is_refused_and_says_what_to_send_instead(shop: Shop) -> None:
    assert [put(shop, f"p{n}")[0] for n in range(LIMIT)] == [202] * LIMIT
    status, headers, message = put(shop, "too-many")
    assert (status, "Retry-After" in headers) == (429, True)
    assert "POST /v1/catalogues/demo/imports" in message
    assert "VITRINE_JOBS__MAX_WAITING" in message
    # Another catalogue does not help the same caller.
    shop.parts.catalogue.create("books")
    assert put(shop, "p", "books")[0] == 429
    begin_one(shop)
    assert put(shop, "now")[0] == 202
    assert put(shop, "too-many")[0] == 429


def test_control_below_the_limit_nothing_is_refused(tmp_path: Path) -> None:
    shop = open_shop(tmp_path)
    assert [put(shop, f"p{n}")[0] for n in range(3 * LIMIT)] == [202] * 3 * LIMIT


def test_every_way_to_make_a_job_is_limited_and_nothing_is_stored(shop: Shop) -> None:
    for n in range(LIMIT):
        put(shop, f"p{n}")
    products = "/v1/catalogues/demo/products"
    refused = [
        shop.client.patch(f"{products}/chair-1", json={"category": "Stools"}),
        shop.client.delete(f"{products}/chair-1"),
        shop.client.put(f"{products}/p", data={"product": "{}", "image": (open_picture(), "p.jpg")}),
        shop.client.post("/v1/catalogues/demo/imports", data=b"PK", content_type="application/zip"),
        shop.client.post("/v1/catalogues/demo/reconcile", json={}),
        shop.client.post("/v1/catalogues/demo/duplicates", json={}),
    ]
    assert [answer.status_code for answer in refused] == [429] * len(refused)
    assert list(shop.parts.store.older_than("imports", -60.0)) == []
    with shop.parts.database.read() as session:
        assert len(session.scalars(select(Job.id)).all()) == LIMIT


def open_picture() -> object:
    import io

    return io.BytesIO(picture())


def test_what_moves_an_index_is_never_refused(shop: Shop) -> None:
    jobs = shop.parts.jobs.for_caller("one", LIMIT)
    for n in range(LIMIT):
        jobs.create_put("demo", f"p{n}", ProductIn(), [])
    assert jobs.create(JobKind.ROLLBACK, "demo", urgent=True).created


def test_a_repeated_request_gets_its_job_at_the_limit_too(shop: Shop) -> None:
    jobs = shop.parts.jobs.for_caller("one", LIMIT)
    made = [jobs.create_import("demo", {}, Idempotent(f"k{n}", "d")).id for n in range(LIMIT)]
    again = jobs.create_import("demo", {}, Idempotent("k0", "d"))
    assert (again.id, again.created) == (made[0], False)
    with pytest.raises(Overloaded):
        jobs.create_import("demo", {}, Idempotent("new", "d"))


def test_a_caller_at_its_limit_leaves_others_their_own_and_a_catalogue_has_one_too(shop: Shop) -> None:
    shop.parts.catalogue.create("books")
    one, other = (shop.parts.jobs.for_caller(name, LIMIT) for name in ("one", "other"))
    for n in range(LIMIT):
        one.create_put("demo", f"p{n}", ProductIn(), [])
    with pytest.raises(Overloaded, match="of yours"):
        one.create_put("books", "p", ProductIn(), [])
    with pytest.raises(Overloaded, match="of catalogue 'demo'"):
        other.create_put("demo", "p", ProductIn(), [])
    assert other.create_put("books", "p", ProductIn(), []).created


def test_retries_count_and_the_system_s_jobs_are_nobody_s(shop: Shop) -> None:
    jobs = shop.parts.jobs.for_caller("one", LIMIT)
    with shop.parts.database.write() as session:
        add_job(session, find_catalogue(session, "demo"), JobKind.CALIBRATE, priority=BACKGROUND)
    ended = jobs.create_import("demo", {}).id
    jobs.cancel(ended)
    shop.parts.catalogue.create("books")
    for n in range(LIMIT - 1):
        jobs.create_put("books", f"p{n}", ProductIn(), [])
    jobs.retry(ended, None, 10)
    with pytest.raises(Overloaded):
        jobs.retry(ended, None, 10)
