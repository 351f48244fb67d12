"""Signing in: the key is asked for once, a cookie stands for it, and whoever has none is told the way."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.access.sessions import SESSION_S
from tests.web_builders import Shop, open_shop
from web.http import sessions

KEY = "a-long-secret-key"
OWN = {"Origin": "http://localhost", "Accept": "text/html"}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, web={"api_key": KEY})


def enter(client: FlaskClient, key: str = KEY, after: str = "/manage", **headers: str) -> TestResponse:
    return client.post("/sign-in", data={"key": key, "next": after}, headers={**OWN, **headers})


def test_the_key_opens_a_session_that_the_api_takes_too(shop: Shop) -> None:
    client = shop.client
    assert client.get("/v1/catalogues").status_code == 401
    answer = enter(client, after="/manage?page=2")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/manage?page=2")
    assert client.get("/v1/catalogues").status_code == 200
    assert shop.client.get("/v1/catalogues").status_code == 401, "another browser"


def test_the_cookie_is_kept_from_scripts_and_other_sites(shop: Shop) -> None:
    cookie = SimpleCookie(enter(shop.client).headers["Set-Cookie"])[sessions.COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert (cookie["secure"], int(cookie["max-age"])) == ("", SESSION_S)
    assert KEY not in cookie.value
    https = shop.client.post("/sign-in", data={"key": KEY}, base_url="https://localhost")
    assert SimpleCookie(https.headers["Set-Cookie"])[sessions.COOKIE]["secure"] is True


@pytest.mark.parametrize("key", ["", "wrong", KEY + "x", KEY.upper(), "schlüssel\udcff"])
def test_a_wrong_key_opens_nothing_and_the_form_comes_again(shop: Shop, key: str) -> None:
    client = shop.client
    answer = enter(client, key=key.encode(errors="replace").decode(), after="/operations")
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers
    assert "Wrong key" in answer.text
    assert 'value="/operations"' in answer.text
    assert client.get("/v1/catalogues").status_code == 401


def test_nobody_tries_many_keys(shop: Shop) -> None:
    tries = [enter(shop.client, key="wrong") for _ in range(12)]
    assert [t.status_code for t in tries] == [403] * 10 + [429] * 2
    assert int(tries[-1].headers["Retry-After"]) > 0
    forged = enter(shop.client, key="wrong", **{"X-Forwarded-For": "10.0.0.1"})
    assert forged.status_code == 429, "nobody's word counts"
    assert enter(shop.client).status_code == 303, "who has the key is not locked out by others of his address"


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_another_site_can_neither_sign_in_nor_act_nor_sign_out(shop: Shop, headers: dict[str, str]) -> None:
    client = shop.client
    assert client.post("/sign-in", data={"key": KEY}, headers=headers).status_code == 403
    enter(client)
    assert client.put("/v1/catalogues/theirs", json={}, headers=headers).status_code == 403
    assert client.post("/sign-out", headers=headers).status_code == 403
    assert [c.name for c in shop.parts.catalogue.list_catalogues()] == ["demo"]


def test_signing_out_ends_it_everywhere(shop: Shop) -> None:
    client, thief = shop.client, shop.client
    enter(client)
    cookie = client.get_cookie(sessions.COOKIE)
    assert cookie is not None
    thief.set_cookie(sessions.COOKIE, cookie.value)
    assert thief.get("/v1/catalogues").status_code == 200, "control: a copy works until then"
    answer = client.post("/sign-out", headers=OWN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in")
    assert client.get("/v1/catalogues").status_code == 401
    assert thief.get("/v1/catalogues").status_code == 401


def test_who_has_no_right_is_told_what_to_do_and_comes_back(shop: Shop) -> None:
    client = shop.client
    page = client.get("/manage/catalogues/demo?q=a", headers=OWN)
    assert (page.status_code, page.mimetype) == (401, "text/html")
    assert 'value="/manage/catalogues/demo?q=a"' in page.text
    assert "key from your administrator" in page.text
    assert "oak" not in page.text.lower()
    client.set_cookie(sessions.COOKIE, "1.abc")
    assert "Your session has ended" in client.get("/manage", headers=OWN).text
    lost = client.post(
        "/manage/catalogues/demo/imports", headers={**OWN, "Referer": "http://localhost/manage/x"}
    )
    assert lost.status_code == 401
    assert "Your last action was not carried out" in lost.text
    assert 'value="/manage/x"' in lost.text
    foreign = client.post("/manage/y", headers={**OWN, "Referer": "http://evil.example/manage/x"})
    assert 'value="/manage"' in foreign.text


@pytest.mark.parametrize(
    "away", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x", "/a\nb", "manage"]
)
def test_signing_in_leads_to_no_other_site(shop: Shop, away: str) -> None:
    assert enter(shop.client, after=away).headers["Location"] == "/manage"


def test_without_a_key_there_is_nothing_to_sign_in_to(tmp_path: Path) -> None:
    open_one = open_shop(tmp_path)
    assert open_one.client.get("/sign-in?next=/operations").headers["Location"] == "/operations"
    answer = open_one.client.post("/sign-in", data={"key": "x"}, headers=OWN)
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (303, False)
