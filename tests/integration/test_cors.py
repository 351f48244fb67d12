"""Publishable keys in pages of other sites: preflights, readable answers, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.process.log import configure_logging
from tests.key_builders import IN_PAGE, ORIGIN, OWNER, OWNER_KEY, bearer, make_key
from tests.web_builders import IMAGE_ID, Shop, open_shop, upload

PRODUCT = "/v1/catalogues/demo/products/chair-1"
PICTURE = f"/v1/images/{IMAGE_ID}"
FOREIGN = "https://elsewhere.example"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("shop"), web={"api_key": OWNER_KEY})


@pytest.fixture(scope="module")
def key(shop: Shop) -> str:
    return make_key(shop).key


def preflight(shop: Shop, path: str, method: str = "GET", origin: str = ORIGIN) -> Any:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Sec-Fetch-Site": "cross-site"}
    return shop.client.options(
        path, headers={**asked, "Access-Control-Request-Headers": "authorization,prefer"}
    )


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/searches", "POST"),
        ("/v1/tasks/x", "GET"),
        ("/v1/tasks/x", "DELETE"),
        (PRODUCT, "GET"),
        (f"{PRODUCT}/similar", "GET"),
        ("/v1/feedback", "POST"),
        (PICTURE, "GET"),
    ],
)
def test_a_preflight_is_answered_without_a_key(shop: Shop, key: str, path: str, method: str) -> None:
    answer = preflight(shop, path, method)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Methods"] == method
    assert {"Authorization", "Prefer", "Content-Type", "Idempotency-Key"} <= set(
        answer.headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]


def test_a_preflight_of_another_origin_or_call_is_refused(shop: Shop, key: str) -> None:
    for answer in (
        preflight(shop, PRODUCT, origin=FOREIGN),
        preflight(shop, PRODUCT, origin="null"),
        preflight(shop, PRODUCT, "PUT"),
        preflight(shop, "/v1/catalogues"),
        preflight(shop, "/v1/keys", "POST"),
        preflight(shop, "/v1/nothing"),
    ):
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.json["error"]["message"]


def test_the_origins_of_keys_that_ended_are_not_answered(shop: Shop) -> None:
    gone = make_key(shop, origins=["https://gone.example"])
    assert preflight(shop, PRODUCT, origin="https://gone.example").status_code in (204, 403)  # cached
    shop.parts.key_ring.forget()
    assert preflight(shop, PRODUCT, origin="https://gone.example").status_code == 204
    shop.client.delete(f"/v1/keys/{gone.id}", headers=OWNER)
    assert preflight(shop, PRODUCT, origin="https://gone.example").status_code == 403


def test_a_page_of_a_listed_origin_searches_and_reads_the_answer(shop: Shop, key: str) -> None:
    made = shop.client.post("/v1/searches", headers={**bearer(key), **IN_PAGE}, **upload())
    assert made.status_code == 202
    shop.answer_all()
    polled = shop.client.get(made.headers["Location"], headers={**bearer(key), **IN_PAGE})
    similar = shop.client.get(f"{PRODUCT}/similar", headers={**bearer(key), **IN_PAGE})
    assert (polled.json["state"], similar.status_code) == ("succeeded", 202)
    for answer in (made, polled, similar):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        assert {"Location", "Retry-After", "X-Request-Id", "RateLimit-Remaining"} <= exposed
        assert "Access-Control-Allow-Credentials" not in answer.headers
    failed = shop.client.post("/v1/searches", headers={**bearer(key), **IN_PAGE}, json={"top_k": 0})
    assert (failed.status_code, failed.headers["Access-Control-Allow-Origin"]) == (422, ORIGIN)


@pytest.mark.parametrize(
    "origin", [FOREIGN, "null", "http://shop.example", f"{ORIGIN}:8443", f"{ORIGIN}.evil.example"]
)
def test_a_page_of_another_origin_is_refused(shop: Shop, key: str, origin: str) -> None:
    for method, path in (("POST", "/v1/searches"), ("GET", PRODUCT), ("GET", f"{PRODUCT}/similar")):
        headers = {**bearer(key), "Origin": origin, "Sec-Fetch-Site": "cross-site"}
        refused = shop.client.open(path, method=method, headers=headers, json={})
        assert refused.status_code == 403
        assert "--origin" in refused.json["error"]["message"], "what to do"
        assert "Access-Control-Allow-Origin" not in refused.headers


def test_secret_keys_and_sessions_are_for_no_page_of_another_site(shop: Shop) -> None:
    secret = make_key(shop, "catalogue").key
    for text in (OWNER_KEY, secret):
        headers = {**bearer(text), **IN_PAGE}
        assert shop.client.post("/v1/searches", headers=headers, **upload()).status_code == 403
        read = shop.client.get(PRODUCT, headers=headers)
        assert "Access-Control-Allow-Origin" not in read.headers


def test_a_wrong_key_is_named_to_the_page(shop: Shop, key: str) -> None:
    wrong = shop.client.post("/v1/searches", headers={**bearer(key[:-1] + "!"), **IN_PAGE}, **upload())
    assert wrong.status_code == 403, "no key at all, so it is another site's page"
    wrong = shop.client.get(PRODUCT, headers={**bearer(key[:-3] + "xyz"), **IN_PAGE})
    assert wrong.status_code == 401
    assert wrong.headers["Access-Control-Allow-Origin"] == ORIGIN
    elsewhere = shop.client.get(PRODUCT, headers={**bearer(key[:-3] + "xyz"), "Origin": FOREIGN})
    assert "Access-Control-Allow-Origin" not in elsewhere.headers


def test_pictures_take_the_key_in_their_address(shop: Shop, key: str) -> None:
    for sent in ({}, {"Referer": f"{ORIGIN}/sofas"}, {"Referer": ORIGIN + "/"}, IN_PAGE):
        answer = shop.client.get(f"{PICTURE}?key={key}", headers=sent)
        assert answer.status_code == 200, sent
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert "Origin" in answer.headers["Vary"]
    read = shop.client.get(f"{PICTURE}?key={key}&size=320", headers={"Origin": ORIGIN})
    assert read.headers["Access-Control-Allow-Origin"] == ORIGIN, "for a canvas"
    again = shop.client.get(
        f"{PICTURE}?key={key}", headers={"If-None-Match": answer.headers["ETag"], "Referer": ORIGIN}
    )
    assert (again.status_code, again.headers["Cross-Origin-Resource-Policy"]) == (304, "cross-origin")
    own = shop.client.get(PICTURE, headers=OWNER)
    assert own.headers["Cross-Origin-Resource-Policy"] == "same-origin", "as before"


@pytest.mark.parametrize("sent", [{"Referer": f"{FOREIGN}/x"}, {"Origin": FOREIGN}, {"Referer": "http://["}])
def test_pictures_are_for_the_pages_of_the_key(shop: Shop, key: str, sent: dict[str, str]) -> None:
    refused = shop.client.get(f"{PICTURE}?key={key}", headers=sent)
    assert refused.status_code == 403
    assert refused.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_key_in_an_address_opens_nothing_else(shop: Shop, key: str) -> None:
    task = shop.client.post("/v1/searches", headers=bearer(key), **upload()).json["id"]
    for path in (
        PRODUCT,
        f"/v1/tasks/{task}",
        f"/v1/searches/{task}/image",
        "/v1/catalogues",
        "/",
        f"/s/{task}",
    ):
        assert shop.client.get(f"{path}?key={key}").status_code == 401, path
    for text in (OWNER_KEY, f"vt_aaaaaaaa_{'x' * 40}", ""):
        assert shop.client.get(f"{PICTURE}?key={text}").status_code == 401
    secret = make_key(shop, "catalogue").key
    refused = shop.client.get(f"{PICTURE}?key={secret}")
    assert (refused.status_code, "Revoke it" in refused.json["error"]["message"]) == (403, True)
    shop.answer_all()


def test_a_key_in_an_address_is_not_logged(shop: Shop, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("DEBUG", "json", "web")
    for text in (key, f"{key[:-3]}xyz", make_key(shop, "catalogue").key):
        shop.client.get(f"{PICTURE}?key={text}").close()
        shop.client.get(f"{PICTURE}?key={text}&size=7").close()
    written = capsys.readouterr().err
    assert PICTURE in written
    assert key[12:20] not in written
    assert "key=" not in written


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"data": b"x" * 2_000_000, "content_type": "application/json"}, 413),
        ({"data": b"{}", "content_type": "application/json", "headers": {"Transfer-Encoding": "x"}}, 411),
    ],
)
def test_a_refusal_before_the_body_is_read_can_be_read_by_the_page(
    tmp_path: Path, sent: dict[str, Any], status: int
) -> None:
    shop = open_shop(tmp_path, web={"api_key": OWNER_KEY, "max_body_bytes": 1_000_000})
    made = make_key(shop)
    headers = {**bearer(made), **IN_PAGE, **sent.pop("headers", {})}
    answer = shop.client.post("/v1/searches", headers=headers, **sent)
    assert answer.status_code == status, answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    foreign = shop.client.post("/v1/searches", headers={**headers, "Origin": FOREIGN}, **sent)
    assert "Access-Control-Allow-Origin" not in foreign.headers
