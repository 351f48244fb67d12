"""API keys over HTTP: create, list, rotate, revoke; expired, wrong and over-limit keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import app
from shared.access.key_ring import CACHE_TTL_S, KeyRing
from shared.access.keys import KeyRepository
from shared.access.secret import digest_of, parse_prefix
from shared.access.uses import USE_INTERVAL_S
from shared.access.wrong_keys import WRONG_KEYS_PER_MINUTE
from shared.contracts.keys import KeyIn
from shared.database.tables import ApiKey
from shared.errors import Conflict
from shared.process.metrics import REGISTRY
from tests.key_builders import ORIGIN, OWNER, OWNER_KEY, bearer, make_key
from tests.web_builders import Shop, open_shop, serving, upload

PRODUCT = "/v1/catalogues/demo/products/chair-1"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("shop"), web={"api_key": OWNER_KEY})


@pytest.fixture
def fresh(tmp_path: Path) -> Shop:
    """A shop to which no wrong key was sent yet."""
    return open_shop(tmp_path, web={"api_key": OWNER_KEY})


def create(shop: Shop, **wanted: Any) -> Any:
    return shop.client.post("/v1/keys", headers=OWNER, json={"name": "test", **wanted})


def test_a_key_is_shown_once_and_stored_as_a_digest(shop: Shop) -> None:
    made = create(shop, catalogues=["demo"], origins=["HTTPS://Shop.Example:443/"], per_minute=7)
    assert made.status_code == 201
    key = made.json["key"]
    assert parse_prefix(key) == made.json["id"]
    assert len(key.rpartition("_")[2]) >= 32
    assert made.json["origins"] == [ORIGIN], "as browsers send it"
    listed = shop.client.get("/v1/keys", headers=OWNER)
    assert key not in listed.text
    assert {"key", "digest"}.isdisjoint(listed.json[0])
    assert (listed.json[0]["id"], listed.json[0]["role"], listed.json[0]["state"]) == (
        made.json["id"],
        "search",
        "active",
    )
    with shop.parts.database.read() as session:
        row = session.get(ApiKey, made.json["id"])
        assert row is not None
        assert row.digest == digest_of(key)
        assert key.rpartition("_")[2] not in str(vars(row))
    assert shop.client.get(PRODUCT, headers=bearer(key)).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "status", "says"),
    [
        ({"catalogues": []}, 422, "exactly one catalogue"),
        ({"catalogues": ["demo", "other"]}, 422, "exactly one catalogue"),
        ({"catalogues": ["nowhere"]}, 404, "no catalogue 'nowhere'"),
        ({"role": "owner", "catalogues": ["demo"]}, 422, "is for all catalogues"),
        ({"role": "catalogue", "origins": [ORIGIN]}, 422, "Only `search` keys"),
        ({"role": "root"}, 422, "role"),
        ({"name": " "}, 422, "name"),
        ({"per_minute": 0}, 422, "per_minute"),
        ({"expires_in_s": -1}, 422, "expires_in_s"),
        *[
            ({"catalogues": ["demo"], "origins": [origin]}, 422, "is no origin")
            for origin in ("*", "null", "shop.example", "https://*.shop.example", "https://shop.example/path")
        ],
        *[
            ({"catalogues": ["demo"], "origins": [origin]}, 422, "is no origin")
            for origin in (
                "ftp://shop.example",
                "https://",
                "https://u@shop.example",
                "http://[",
                "https://a b",
                "https://a.example,b.example",
                "https://a.example;script-src",
                "https://a'b",
                "https://a\\b",
                "https://sh\nop.example",
                "http://[v1.x]",
                "http://[::1%25lo]",
                "https://-",
                "https://shop.example:0",
            )
        ],
        *[
            ({"catalogues": ["demo"], "name": name}, 422, "name")
            for name in ("a\nb", "a\x1b[2Jb", "a\u202eb", "a\u2028b")
        ],
    ],
)
def test_a_key_that_would_not_work_is_refused(
    shop: Shop, wanted: dict[str, Any], status: int, says: str
) -> None:
    shop.parts.catalogue.create("other")
    answer = create(shop, **wanted)
    assert (answer.status_code, says in answer.json["error"]["message"]) == (status, True), answer.text


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://shop.example", "https://shop.example"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://shop.example:80", "http://shop.example"),
    ],
)
def test_origins_are_those_that_browsers_send(shop: Shop, written: str, sent: str) -> None:
    made = create(shop, catalogues=["demo"], origins=[written]).json
    assert made["origins"] == [sent]
    answer = shop.client.get(PRODUCT, headers={**bearer(made["key"]), "Origin": sent})
    assert answer.headers["Access-Control-Allow-Origin"] == sent


def test_a_revoked_key_is_refused_with_a_sentence(fresh: Shop) -> None:
    key = make_key(fresh)
    assert fresh.client.get(PRODUCT, headers=bearer(key)).status_code == 200
    revoked = fresh.client.delete(f"/v1/keys/{key.id}", headers=OWNER)
    assert revoked.json["state"] == "revoked"
    answer = fresh.client.get(PRODUCT, headers={**bearer(key), "Origin": ORIGIN})
    assert answer.status_code == 401
    assert f"The key {key.id} was revoked on 20" in answer.json["error"]["message"]
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN, "so that the page can say so"
    assert fresh.client.delete(f"/v1/keys/{key.id}", headers=OWNER).json == revoked.json, "it stays as it is"
    assert fresh.client.delete("/v1/keys/aaaaaaaa", headers=OWNER).status_code == 404


def test_an_expired_key_is_refused_with_a_sentence(fresh: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(fresh, expires_in_s=60)
    assert fresh.client.get(PRODUCT, headers=bearer(key)).status_code == 200
    with fresh.parts.database.write() as session:
        row = session.get(ApiKey, key.id)
        assert row is not None
        row.expires_at = row.created_at
    fresh.parts.key_ring.forget()
    answer = fresh.client.get(PRODUCT, headers=bearer(key))
    assert answer.status_code == 401
    assert f"The key {key.id} expired on 20" in answer.json["error"]["message"]
    assert fresh.client.get("/v1/keys", headers=OWNER).json[0]["state"] == "expired"


@pytest.mark.parametrize("how", ["revoked", "expired", "unknown", "garbage"])
def test_keys_that_do_not_work_are_limited_logged_and_counted(
    fresh: Shop, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = make_key(fresh, expires_in_s=None if how != "expired" else 1e-9)
    if how == "revoked":
        fresh.parts.keys.revoke(key.id)
    text = {"unknown": f"vt_{key.id}_{'x' * 40}", "garbage": "vt_"}.get(how, key.key)
    label = how if how in ("revoked", "expired") else "bearer"

    def counted() -> float:
        return REGISTRY.get_sample_value("vitrine_auth_failures_total", {"how": label}) or 0.0

    before = counted()
    statuses = [
        fresh.client.get(PRODUCT, headers=bearer(text)).status_code for _ in range(WRONG_KEYS_PER_MINUTE + 2)
    ]
    assert statuses == [401] * WRONG_KEYS_PER_MINUTE + [429] * 2
    assert counted() == before + WRONG_KEYS_PER_MINUTE + 2
    assert fresh.client.get(PRODUCT, headers=OWNER).status_code == 200, "the right key always works"


def test_a_rotated_key_overlaps_with_the_old_one(shop: Shop) -> None:
    old = create(shop, catalogues=["demo"], origins=[ORIGIN], per_minute=9, expires_in_s=86_400).json
    answer = shop.client.post(f"/v1/keys/{old['id']}/rotate", headers=OWNER, json={"grace_s": 3600})
    assert answer.status_code == 201
    new = answer.json
    assert new["id"] != old["id"]
    for field in ("name", "role", "catalogues", "origins", "per_minute"):
        assert new[field] == old[field]
    for key in (old, new):
        assert shop.client.get(PRODUCT, headers=bearer(key["key"])).status_code == 200
    listed = {each["id"]: each for each in shop.client.get("/v1/keys", headers=OWNER).json}
    assert listed[old["id"]]["expires_at"] < listed[new["id"]]["expires_at"]
    at_once = shop.client.post(f"/v1/keys/{old['id']}/rotate", headers=OWNER, json={"grace_s": 0})
    assert at_once.status_code == 201
    assert shop.client.get(PRODUCT, headers=bearer(old["key"])).status_code == 401
    again = shop.client.post(f"/v1/keys/{old['id']}/rotate", headers=OWNER, json={})
    assert (again.status_code, "is expired" in again.json["error"]["message"]) == (409, True)


@pytest.mark.parametrize("lifetime_s", [None, 30 * 86_400.0])
@pytest.mark.parametrize("is_revoked", [False, True])
def test_a_key_that_is_rotated_twice_has_successors_that_live_as_long_as_it_was_meant_to(
    fresh: Shop, lifetime_s: float | None, is_revoked: bool
) -> None:
    old = create(fresh, catalogues=["demo"], name="widget", expires_in_s=lifetime_s).json
    create(fresh, catalogues=["demo"], name="another", expires_in_s=5)
    create(fresh, role="catalogue", name="widget", expires_in_s=5)
    first = fresh.parts.keys.rotate(old["id"], 3600)
    if is_revoked:
        fresh.parts.keys.revoke(first.id)
    second = fresh.parts.keys.rotate(old["id"], 3600)
    for new in (first, second):
        if lifetime_s is None:
            assert new.expires_at is None, "it would stop within the grace of the old one"
        else:
            assert new.expires_at is not None
            assert (new.expires_at - new.created_at).total_seconds() == pytest.approx(lifetime_s, abs=1)


def test_a_change_acts_in_every_process_within_the_cache_time(shop: Shop) -> None:
    """Two rings on one database are two processes; the test sets the clock."""
    now = [0.0]
    elsewhere = KeyRing(shop.parts.keys, clock=lambda: now[0])
    key = make_key(shop)
    assert elsewhere.find(key.key) is not None, "a new key works at once"
    assert ORIGIN in elsewhere.live_origins()
    shop.parts.keys.revoke(key.id)
    found = elsewhere.find(key.key)
    assert found is not None
    assert not found.is_revoked, "control: it is cached"
    now[0] += CACHE_TTL_S
    found = elsewhere.find(key.key)
    assert found is not None
    assert found.is_revoked
    assert CACHE_TTL_S <= 5


def test_a_known_key_costs_no_query(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(shop)
    assert shop.parts.key_ring.find(key.key)
    monkeypatch.setattr(KeyRepository, "find", lambda *_: pytest.fail("a query"))
    assert shop.parts.key_ring.find(key.key)
    assert shop.parts.key_ring.find("vt_") is None, "nor does what has not the form of a key"


def test_last_uses_are_written_at_most_once_a_minute_and_by_no_request(shop: Shop) -> None:
    now = [0.0]
    ring = KeyRing(shop.parts.keys, clock=lambda: now[0])
    key = make_key(shop)

    def stored() -> Any:
        return next(each.last_used_at for each in shop.parts.keys.list_keys() if each.id == key.id)

    ring.uses.note(key.id)
    assert stored() is None, "noting writes nothing"
    ring.uses.store()
    first = stored()
    assert first is not None
    ring.uses.note(key.id)
    ring.uses.store()
    assert stored() == first, "once a minute"
    now[0] += USE_INTERVAL_S
    ring.uses.store()
    assert stored() > first


def test_a_limit_of_a_key_is_stated_and_kept(shop: Shop) -> None:
    key, other = make_key(shop, per_minute=3), make_key(shop, per_minute=3)
    answers = [shop.client.get(PRODUCT, headers={**bearer(key), "Origin": ORIGIN}) for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert [each.headers["RateLimit-Remaining"] for each in answers] == ["2", "1", "0", "0"]
    assert {each.headers["RateLimit-Limit"] for each in answers} == {"3"}
    assert all(1 <= int(each.headers["RateLimit-Reset"]) <= 60 for each in answers)
    refused = answers[-1]
    assert int(refused.headers["Retry-After"]) >= 1
    assert "may make 3 requests per minute" in refused.json["error"]["message"]
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]
    assert shop.client.get(PRODUCT, headers=bearer(other)).status_code == 200, "keys are independent"
    assert "RateLimit-Limit" not in shop.client.get(PRODUCT, headers=OWNER).headers, "no limit applies"


def test_searches_state_the_limit_of_the_address(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, web={"api_key": OWNER_KEY, "searches_per_minute": 2})
    answers = [shop.client.post("/v1/searches", headers=OWNER, **upload()) for _ in range(3)]
    assert [each.status_code for each in answers] == [202, 202, 429]
    assert [each.headers["RateLimit-Remaining"] for each in answers] == ["1", "0", "0"]
    backend = make_key(shop, "catalogue", per_minute=100)
    made = shop.client.post("/v1/searches", headers=bearer(backend), **upload())
    assert (made.status_code, made.headers["RateLimit-Remaining"]) == (202, "99"), "the key's limit instead"
    public = make_key(shop, per_minute=100)
    made = shop.client.post("/v1/searches", headers=bearer(public), **upload())
    assert made.status_code == 429, "a publishable key has both"


def test_the_number_of_keys_is_limited(fresh: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.access.keys.MAX_KEYS", 2)
    first = make_key(fresh)
    make_key(fresh)
    with pytest.raises(Conflict, match="Revoke those"):
        make_key(fresh)
    fresh.parts.keys.revoke(first.id)
    assert fresh.parts.keys.create(KeyIn(name="x", role="owner")).role == "owner"


def test_without_a_bootstrap_key_keys_still_mean_what_they_say(tmp_path: Path) -> None:
    """On loopback everything is open; a key restricts the client that sends it."""
    shop = open_shop(tmp_path)
    key = make_key(shop)
    assert shop.client.get("/v1/catalogues").status_code == 200
    assert shop.client.get("/v1/catalogues", headers=bearer(key)).status_code == 403
    assert shop.client.get("/v1/catalogues", headers=bearer("some-other-program's")).status_code == 200
    shop.parts.keys.revoke(key.id)
    shop.parts.key_ring.forget()
    assert shop.client.get("/v1/catalogues", headers=bearer(key)).status_code == 401
    assert shop.client.get("/v1/catalogues", headers=bearer(f"vt_aaaaaaaa_{'x' * 40}")).status_code == 401


def test_an_owner_key_manages_keys_and_others_do_not(shop: Shop) -> None:
    owner, lower = make_key(shop, "owner"), make_key(shop, "operate")
    made = shop.client.post("/v1/keys", headers=bearer(owner), json={"name": "x", "role": "operate"})
    assert made.status_code == 201
    assert shop.client.get("/v1/keys", headers=bearer(lower)).status_code == 403


def test_the_command_creates_lists_rotates_and_revokes(fresh: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(fresh) as url:
        monkeypatch.setenv("VITRINE_URL", url)
        monkeypatch.setenv("VITRINE_API_KEY", OWNER_KEY)

        def vitrine(*words: str) -> Any:
            ran = CliRunner().invoke(app, ["keys", *words, "--json"], catch_exceptions=False)
            return json.loads(ran.stdout)

        made = vitrine("create", "widget", "--catalogue", "demo", "--origin", ORIGIN, "--expires", "90d")
        assert (made["role"], made["catalogues"], made["origins"]) == ("search", ["demo"], [ORIGIN])
        assert made["expires_at"] is not None
        new = vitrine("rotate", made["id"], "--grace", "2h")
        assert new["id"] != made["id"]
        assert vitrine("revoke", new["id"])["state"] == "revoked"
        assert {each["id"]: each["state"] for each in vitrine("list")} == {
            made["id"]: "active",
            new["id"]: "revoked",
        }
        table = CliRunner().invoke(app, ["keys", "list"]).stdout
        assert "widget" in table
        assert made["key"] not in table
        wrong = CliRunner().invoke(app, ["keys", "create", "x", "--expires", "soon"])
        assert "12h, 90d or 4w" in wrong.output
