"""Sessions are rows: they end by time, by sign-out, with their key, and when an owner ends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from shared.access.sessions import CACHE_TTL_S, OWNER_IDLE_S, SESSION_S, SessionRing
from shared.database.tables import SessionRow
from tests.key_builders import OWNER, OWNER_KEY, make_key
from tests.web_builders import Shop, open_shop
from web.app import create_app
from web.http import sessions

PAGE = {"Accept": "text/html"}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, web={"api_key": OWNER_KEY})


def enter(shop: Shop, key: str = OWNER_KEY, **headers: str) -> FlaskClient:
    client = shop.client
    answer = client.post("/sign-in", data={"key": key}, headers={**PAGE, **headers})
    assert answer.status_code == 303, answer.text
    return client


def token_of(client: FlaskClient) -> str:
    cookie = client.get_cookie(sessions.COOKIE)
    assert cookie is not None
    return cookie.value


def age(shop: Shop, **columns: float) -> None:
    """Move times of all sessions into the past, by seconds."""
    with shop.parts.database.write() as session:
        for row in session.query(SessionRow):
            for name, seconds in columns.items():
                setattr(row, name, getattr(row, name) - seconds)
    shop.parts.session_ring.forget()
    shop.parts.session_ring.uses.store()


def test_a_cookie_is_a_secret_that_is_not_stored(shop: Shop) -> None:
    first, second = token_of(enter(shop)), token_of(enter(shop))
    assert first != second, "even of one second"
    assert len(first) >= 43
    with shop.parts.database.read() as session:
        stored = str([vars(row) for row in session.query(SessionRow)])
    assert first not in stored
    for forged in ("", "x", "ä", first[:-1], first.swapcase()):
        stranger = shop.client
        stranger.set_cookie(sessions.COOKIE, forged)
        assert stranger.get("/v1/catalogues").status_code == 401, forged


def test_a_session_lasts_twelve_hours_at_most(shop: Shop) -> None:
    client = enter(shop, make_key(shop, "operate").key)
    age(shop, created_at=SESSION_S - 60)
    assert client.get("/v1/catalogues").status_code == 200
    age(shop, created_at=60)
    assert client.get("/v1/catalogues").status_code == 401
    assert shop.parts.sessions.delete_expired() == 1


def test_an_owner_is_signed_out_when_idle_and_others_are_not(shop: Shop) -> None:
    owner, operator = enter(shop), enter(shop, make_key(shop, "operate").key)
    assert owner.get("/v1/catalogues").status_code == 200
    shop.parts.session_ring.uses.store()
    age(shop, seen_at=OWNER_IDLE_S + 1)
    assert owner.get("/v1/catalogues").status_code == 401
    assert operator.get("/v1/catalogues").status_code == 200
    text = owner.get("/manage", headers=PAGE).text
    assert "Your session has ended" in text


def test_use_keeps_an_owners_session_alive(shop: Shop) -> None:
    client = enter(shop)
    age(shop, seen_at=OWNER_IDLE_S - 60)
    assert client.get("/v1/catalogues").status_code == 200
    age(shop, seen_at=120)
    assert client.get("/v1/catalogues").status_code == 200, "it was used a moment ago"


def test_a_revoked_or_expired_key_ends_its_sessions(shop: Shop) -> None:
    for end in ("revoke", "expire"):
        key = make_key(shop, "catalogue", expires_in_s=3600)
        client = enter(shop, key.key)
        assert client.get("/v1/catalogues").status_code == 200
        if end == "revoke":
            shop.client.delete(f"/v1/keys/{key.id}", headers=OWNER)
        else:
            shop.client.post(f"/v1/keys/{key.id}/rotate", headers=OWNER, json={"grace_s": 0})
        assert client.get("/v1/catalogues").status_code == 401, end


def test_another_bootstrap_key_ends_its_sessions(shop: Shop) -> None:
    token = token_of(enter(shop))
    web = shop.settings.web.model_copy(update={"api_key": SecretStr("another-key-of-32-characters-xxxx")})
    changed = create_app(shop.settings.model_copy(update={"web": web}), publisher=shop.publisher)
    client = changed.test_client()
    client.set_cookie(sessions.COOKIE, token)
    assert client.get("/v1/catalogues").status_code == 401


def test_a_session_has_the_rights_of_its_key(shop: Shop) -> None:
    shop.parts.catalogue.create("other")
    client = enter(shop, make_key(shop, "catalogue", catalogues=["other"]).key)
    assert [each["name"] for each in client.get("/v1/catalogues").json or []] == ["other"]
    assert client.get("/operations", headers=PAGE).status_code == 403
    assert client.get("/manage/keys", headers=PAGE).status_code == 403


@pytest.mark.parametrize(
    ("role", "how", "says"),
    [
        ("search", "live", "opens no pages"),
        ("owner", "revoked", "expired or was revoked"),
        ("owner", "expired", "expired or was revoked"),
    ],
)
def test_keys_that_cannot_sign_in_say_why(shop: Shop, role: str, how: str, says: str) -> None:
    key = make_key(shop, role, expires_in_s=1e-9 if how == "expired" else None)
    if how == "revoked":
        shop.parts.keys.revoke(key.id)
    answer = shop.client.post("/sign-in", data={"key": key.key}, headers=PAGE)
    assert (answer.status_code, says in answer.text) == (403, True)
    assert "Set-Cookie" not in answer.headers


def test_an_owner_lists_and_ends_sessions(shop: Shop) -> None:
    owner = enter(shop, **{"User-Agent": "Browser/1.0"})
    others = [enter(shop) for _ in range(3)]
    listed: Any = owner.get("/v1/sessions").json
    assert len(listed) == 4
    own = [each for each in listed if each["is_current"]]
    assert [(each["browser"], each["address"], each["credential"]) for each in own] == [
        ("Browser/1.0", "127.0.0.1", "api-key")
    ]
    assert token_of(owner) not in str(listed)
    newest = listed[0]["id"]
    assert owner.delete(f"/v1/sessions/{newest}").status_code == 204
    assert owner.delete(f"/v1/sessions/{newest}").status_code == 404
    assert owner.delete("/v1/sessions/x").status_code == 404
    assert [each.get("/v1/catalogues").status_code for each in others].count(401) == 1
    assert owner.delete("/v1/sessions").status_code == 204
    assert {each.get("/v1/catalogues").status_code for each in (*others, owner)} == {401}


def test_a_sign_out_acts_in_every_process_within_the_cache_time(shop: Shop) -> None:
    now = [0.0]
    elsewhere = SessionRing(shop.parts.sessions, clock=lambda: now[0])
    client = enter(shop)
    token = token_of(client)
    assert elsewhere.find(token)
    client.post("/sign-out", headers=PAGE)
    assert elsewhere.find(token), "control: it is cached"
    now[0] += CACHE_TTL_S
    assert elsewhere.find(token) is None
    assert CACHE_TTL_S <= 5


def test_the_page_creates_rotates_and_revokes_keys_and_ends_sessions(shop: Shop) -> None:
    owner, other = enter(shop), enter(shop)
    form = {
        "name": "Widget",
        "role": "search",
        "catalogues": "demo",
        "origins": "https://a.example, https://b.example",
    }
    made = owner.post("/manage/keys", data={**form, "days": "90", "per_minute": ""}, headers=PAGE)
    assert made.status_code == 200
    key = shop.parts.keys.list_keys()[0]
    assert f"vt_{key.id}_" in made.text
    assert (key.name, key.origins) == ("Widget", ["https://a.example", "https://b.example"])
    assert key.expires_at is not None
    shown = owner.get("/manage/keys", headers=PAGE).text
    assert f"vt_{key.id}_" not in shown, "once"
    assert key.id in shown
    wrong = owner.post("/manage/keys", data={**form, "origins": "*"}, headers=PAGE)
    assert (wrong.status_code, "is no origin" in wrong.text, 'value="Widget"' in wrong.text) == (
        422,
        True,
        True,
    )
    rotated = owner.post(f"/manage/keys/{key.id}/rotate", headers=PAGE)
    assert (rotated.status_code, "vt_" in rotated.text) == (200, True)
    assert owner.post(f"/manage/keys/{key.id}/revoke", headers=PAGE).status_code == 303
    assert owner.post(f"/manage/keys/{key.id}/frame", headers=PAGE).status_code == 404
    assert owner.post("/manage/sessions/all", headers=PAGE).status_code == 303
    assert other.get("/v1/catalogues").status_code == 401


def test_signing_in_again_ends_the_session_before(shop: Shop) -> None:
    client = enter(shop)
    before = token_of(client)
    assert client.post("/sign-in", data={"key": OWNER_KEY}, headers=PAGE).status_code == 303
    assert token_of(client) != before
    other = shop.client
    other.set_cookie(sessions.COOKIE, before)
    assert other.get("/v1/catalogues").status_code == 401, "no page can end it any more"
    assert client.get("/v1/catalogues").status_code == 200
    assert client.post("/sign-in", data={"key": "wrong"}, headers=PAGE).status_code == 403
    assert client.get("/v1/catalogues").status_code == 200, "a typing error ends nothing"
