"""The audit log: what is in it, what is not, and how it is read."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from shared.access.wrong_keys import WRONG_KEYS_PER_MINUTE
from shared.database.tables import AuditEntry
from shared.errors import DatabaseUnavailable
from shared.process.log import configure_logging
from shared.settings import Settings
from tests.key_builders import OWNER, OWNER_KEY, bearer, make_key
from tests.web_builders import IMAGE_ID, Shop, open_shop, upload
from web.http import rate_limits

PAGE = {"Accept": "text/html"}
PRODUCT = "/v1/catalogues/demo/products/chair-1"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, web={"api_key": OWNER_KEY, "public": "demo"})


def entries(shop: Shop) -> list[Any]:
    """Return action, actor, object and outcome, oldest first."""
    found = shop.parts.audit.list_page(limit=1000)
    return [(e.action, e.actor, e.object, e.outcome) for e in reversed(found)]


def test_changes_are_recorded_with_key_object_and_outcome(shop: Shop) -> None:
    key = make_key(shop, "catalogue")
    shop.client.put(PRODUCT, headers=bearer(key), json={"titles": {"en": "x"}})
    shop.client.put(PRODUCT, headers=bearer(key), json={"nothing": 1})
    shop.client.put("/v1/catalogues/new", headers=bearer(key), json={})
    made = shop.client.post("/v1/keys", headers=OWNER, json={"name": "x", "role": "operate"})
    new = (made.json or {})["id"]
    shop.client.delete(f"/v1/keys/{new}", headers={**OWNER, "X-Request-Id": "request-1234"})
    actor = f"key:{key.id}"
    assert entries(shop) == [
        ("catalogues.put_product", actor, f"PUT {PRODUCT}", 202),
        ("catalogues.put_product", actor, f"PUT {PRODUCT}", 422),
        ("catalogues.create_catalogue", actor, "PUT /v1/catalogues/new", 403),
        ("keys.create_key", "api-key", f"POST /v1/keys key:{new}", 201),
        ("keys.revoke_key", "api-key", f"DELETE /v1/keys/{new}", 200),
    ]
    newest = shop.parts.audit.list_page(limit=1)[0]
    assert (newest.address, newest.request_id) == ("127.0.0.1", "request-1234")


def test_sign_ins_good_and_bad_are_recorded(shop: Shop) -> None:
    client, key = shop.client, make_key(shop, "operate")
    client.post("/sign-in", data={"key": "wrong"}, headers=PAGE)
    client.post("/sign-in", data={"key": OWNER_KEY}, headers=PAGE)
    client.post("/manage/catalogues", data={"name": "new", "currency": "EUR"}, headers=PAGE)
    client.post("/sign-out", headers=PAGE)
    client.post("/sign-in", data={"key": key.key}, headers=PAGE)
    found = entries(shop)
    assert [each[0] for each in found] == [
        "key.refused.sign_in",
        "sign_in.succeeded",
        "manage.create_catalogue",
        "sign_in.ended",
        "sign_in.succeeded",
    ]
    assert [each[3] for each in found] == [403, 303, 303, 303, 303]
    assert found[0][1] == "unknown"
    assert found[2][1].startswith("api-key session:")
    assert found[3][1] == found[2][1]
    assert found[4][1] == f"key:{key.id}"


def test_refused_keys_are_recorded_and_floods_are_not(shop: Shop) -> None:
    key = make_key(shop)
    shop.client.get(PRODUCT, headers={**bearer(key), "Origin": "https://elsewhere.example"})
    shop.client.get(f"/v1/images/{IMAGE_ID}?key={make_key(shop, 'catalogue').key}")
    shop.parts.keys.revoke(key.id)
    shop.parts.key_ring.forget()
    for _ in range(WRONG_KEYS_PER_MINUTE + 20):
        shop.client.get(PRODUCT, headers=bearer(key))
    found = entries(shop)
    assert found[0] == ("key.refused.foreign_origin", f"key:{key.id}", f"GET {PRODUCT}", 403)
    assert found[1][0] == "key.refused.in_url"
    assert found[2] == ("key.refused.revoked", f"key:{key.id}", f"GET {PRODUCT}", 401)
    assert len(found) == WRONG_KEYS_PER_MINUTE, "one address does not fill the table"


def test_searches_and_reads_are_not_recorded_and_deletions_are(shop: Shop) -> None:
    client = shop.client
    task = (client.post("/v1/searches", **upload()).json or {})["id"]
    client.get(f"/v1/tasks/{task}")
    shop.client.get("/v1/catalogues", headers=OWNER)
    assert entries(shop) == []
    client.delete(f"/v1/searches/{task}")
    ((action, actor, object_, outcome),) = entries(shop)
    assert (action, object_, outcome) == ("searches.delete_search", f"DELETE /v1/searches/{task}", 204)
    assert actor.startswith("visitor:")


def test_no_secret_is_in_the_log(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json", "web")
    client = shop.client
    client.post("/sign-in", data={"key": OWNER_KEY}, headers=PAGE)
    made = client.post("/v1/keys", json={"name": "x", "role": "owner"}).json
    client.post("/sign-in", data={"key": "a-wrong-key-that-was-typed"}, headers=PAGE)
    written = capsys.readouterr().err + str(entries(shop))
    assert '"event": "audit"' in written, "a log line each"
    for secret in (OWNER_KEY, (made or {})["key"], "a-wrong-key-that-was-typed"):
        assert secret not in written


def test_the_log_is_read_in_pages_and_as_csv(shop: Shop) -> None:
    for number in range(5):
        shop.client.put(f"/v1/catalogues/c{number}", headers=OWNER, json={})
    first: Any = shop.client.get("/v1/audit?limit=3", headers=OWNER).json
    assert [each["object"][-2:] for each in first] == ["c4", "c3", "c2"]
    rest: Any = shop.client.get(f"/v1/audit?limit=3&before={first[-1]['id']}", headers=OWNER).json
    assert [each["object"][-2:] for each in rest] == ["c1", "c0"]
    shop.client.put("/v1/catalogues/%3DSUM(A1)", headers=OWNER, json={})
    text = shop.client.get("/v1/audit.csv", headers=OWNER).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 6
    assert rows[0]["actor"] == "api-key"
    page = shop.client.get("/manage/audit", headers={**OWNER, **PAGE}).text
    assert "catalogues.create_catalogue" in page
    assert "/v1/audit.csv" in page
    for path in ("/v1/audit", "/v1/audit.csv", "/manage/audit"):
        assert shop.client.get(path, headers=bearer(make_key(shop, "operate"))).status_code == 403


def test_entries_are_kept_as_long_as_the_setting_says(shop: Shop) -> None:
    keep_s = Settings().web.audit_keep_s
    assert keep_s == 400 * 86_400
    shop.client.put("/v1/catalogues/a", headers=OWNER, json={})
    shop.client.put("/v1/catalogues/b", headers=OWNER, json={})
    with shop.parts.database.write() as session:
        session.query(AuditEntry).order_by(AuditEntry.id).first().at -= keep_s + 1
    assert shop.parts.audit.delete_expired(keep_s) == 1
    assert [each[2] for each in entries(shop)] == ["PUT /v1/catalogues/b"]


def test_a_change_is_answered_though_its_entry_cannot_be_stored(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise DatabaseUnavailable("The database did not answer.")

    monkeypatch.setattr("shared.access.audit.insert_rows", fails)
    assert shop.client.put("/v1/catalogues/a", headers=OWNER, json={}).status_code == 200


@pytest.mark.parametrize("sender", ["visitor", "search key"])
def test_what_anyone_may_send_fills_the_log_neither_with_refusals_nor_with_changes(
    shop: Shop, sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "VISITOR_CHANGES_PER_MINUTE", 4)
    headers = bearer(make_key(shop)) if sender == "search key" else {}
    client = shop.client
    for number in range(20):
        address = {"REMOTE_ADDR": f"10.1.1.{number}"}
        client.delete(f"/v1/searches/unknown-{number}", headers=headers, environ_base=address)
    assert entries(shop) == [], "refusals of strangers"
    if sender == "search key":
        return
    task = (client.post("/v1/searches", **upload()).json or {})["id"]
    statuses = []
    for _ in range(9):
        statuses.append(client.post(f"/s/{task}/sharing", data={"shared": "yes"}).status_code)
    assert statuses[-1] == 429
    assert len(entries(shop)) == statuses.count(303) == 4
    other = client.post(
        f"/s/{task}/sharing", data={"shared": "yes"}, environ_base={"REMOTE_ADDR": "10.9.9.9"}
    )
    assert other.status_code == 303, "another address has a limit of its own"
