"""Every route: one error shape, the request id, the headers, the key, and no call from other sites."""

from __future__ import annotations

import re

import pytest

from tests.web_builders import Shop, open_shop, upload
from web.http.security import API_POLICY, PAGE_POLICY

KEY = "a-long-secret-key"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("open"))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("locked"), web={"api_key": KEY})


def calls(shop: Shop) -> list[tuple[str, str]]:
    """Every (method, path) of the application, with a name that does not exist in each place."""
    found = []
    for rule in shop.app.url_map.iter_rules():
        path = re.sub(r"<[^<>]+>", "missing", re.sub(r"<int:[^<>]+>", "9", rule.rule))
        found += [(method, path) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    assert len(found) > 20
    return found


def assert_shape(answer: object, where: str) -> None:
    body = answer.json  # type: ignore[attr-defined]
    assert set(body) == {"error"}, where
    assert set(body["error"]) == {"code", "message", "field", "request_id"}, where
    assert body["error"]["request_id"] == answer.headers["X-Request-Id"], where  # type: ignore[attr-defined]
    assert "Traceback" not in body["error"]["message"], where


def test_every_route_answers_errors_in_the_one_shape(shop: Shop) -> None:
    for method, path in calls(shop):
        answer = shop.client.open(path, method=method, data=b"{", content_type="application/json")
        assert answer.status_code < 600
        if answer.status_code >= 400 and path != "/readyz":
            assert_shape(answer, f"{method} {path}")
        wrong = shop.client.open(path, method="REPORT")
        assert wrong.status_code == 405, path
        assert_shape(wrong, path)
        assert wrong.headers["Allow"]


def test_unexpected_errors_tell_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("the secret of /etc/shadow")

    monkeypatch.setattr("shared.catalogue.store.CatalogueStore.list_catalogues", broken)
    answer = shop.client.get("/v1/catalogues")
    assert answer.status_code == 500
    assert_shape(answer, "/v1/catalogues")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "body", ["[" * 100_000, '{"top_k": NaN}', '{"top_k": ' + "9" * 5000 + "}", "{", '"x"']
)
def test_treacherous_json_is_never_a_500(shop: Shop, body: str) -> None:
    answer = shop.client.post("/v1/searches", data=body, content_type="application/json")
    assert answer.status_code in (400, 422)
    assert answer.json["error"]["code"] == "invalid_input"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/a%00b",
        "/v1/jobs?catalogue=a%00b",
        "/v1/catalogues/demo/products/a%00b",
        "/manage/catalogues/demo/products?q=%00",
        "/p/demo/a%00b",
    ],
)
def test_an_address_with_a_nul_is_refused_before_a_database_sees_it(shop: Shop, path: str) -> None:
    answer = shop.client.get(path)
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_input")


@pytest.mark.parametrize(
    "body",
    [
        '{"titles": {"en": "a\\u0000b"}}',
        '{"attributes": {"colour": ["red", "\\ud800"]}}',
        '{"attributes": {"a\\u0000": 1}}',
    ],
)
def test_text_that_no_database_keeps_is_refused(shop: Shop, body: str) -> None:
    """PostgreSQL answers it with an error of its own, which would be a 500."""
    address = "/v1/catalogues/demo/products/chair-1"
    answer = shop.client.put(address, data=body, content_type="application/json")
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_input")
    kept = '{"attributes": {"colour": "\\\\u0000 is how it is written"}}'
    assert shop.client.put(address, data=kept, content_type="application/json").status_code == 202


def test_a_field_of_a_form_is_no_way_around(shop: Shop) -> None:
    answer = shop.client.post("/v1/searches", **upload(category="chairs\0"))
    assert (answer.status_code, answer.json["error"]["field"]) == (422, "category")


def test_a_number_larger_than_any_row_is_answered(shop: Shop) -> None:
    """SQLite would rather raise than say that there is no such row."""
    job = shop.client.post("/v1/catalogues/demo/reconcile").json["id"]
    large = "9" * 30
    for path, status in (
        (f"/v1/jobs/{job}/failures?after={large}", 422),
        (f"/v1/jobs/{job}/failures?limit={large}", 422),
        (f"/v1/catalogues/demo/feedback?after={large}", 422),
        (f"/v1/feedback/{large}/photo", 404),
        (f"/manage/catalogues/demo/indexes/{large}", 404),
    ):
        answer = shop.client.get(path)
        assert answer.status_code == status, path
        assert_shape(answer, path)
    wanted = {"index": int(large)}
    assert shop.client.post("/v1/catalogues/demo/calibrate", json=wanted).status_code == 422


def test_headers_of_an_answer_and_of_a_page(shop: Shop) -> None:
    """Row B22: what a browser may do with our answers; written out, so that a change is seen."""
    for path, policy in (("/v1/catalogues", API_POLICY), ("/", PAGE_POLICY), ("/docs", PAGE_POLICY)):
        headers = shop.client.get(path).headers
        assert headers["Content-Security-Policy"] == policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not [name for name, _ in headers if name.startswith("Access-Control")]
    assert "frame-ancestors 'none'" in API_POLICY
    assert "frame-ancestors 'none'" in PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY


def test_a_request_id_is_kept_only_when_it_is_harmless(shop: Shop) -> None:
    kept = shop.client.get("/healthz", headers={"X-Request-Id": "order-12345"})
    assert kept.headers["X-Request-Id"] == "order-12345"
    made = shop.client.get("/healthz", headers={"X-Request-Id": "a\tb<script>"})
    assert re.fullmatch(r"[0-9a-f-]{36}", made.headers["X-Request-Id"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
    ],
)
def test_pages_of_other_sites_cannot_act(shop: Shop, headers: dict[str, str]) -> None:
    before = shop.parts.searches.count_waiting()
    answer = shop.client.post("/v1/searches", headers=headers, **upload())
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "refused")
    assert shop.parts.searches.count_waiting() == before
    assert shop.client.put("/v1/catalogues/theirs", headers=headers, json={}).status_code == 403


def test_our_own_page_can(shop: Shop) -> None:
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert shop.client.post("/v1/searches", headers=own, **upload()).status_code == 202


def test_a_name_that_somebody_points_here_is_not_answered(shop: Shop, locked: Shop) -> None:
    """DNS rebinding: without a key, only this machine's own names count."""
    assert shop.client.get("/v1/catalogues", headers={"Host": "evil.example:8000"}).status_code == 403
    assert shop.client.get("/v1/catalogues", headers={"Host": "127.0.0.1:8000"}).status_code == 200
    answer = locked.client.get("/v1/catalogues", headers={"Host": "shop.example", **BEARER})
    assert answer.status_code == 200


def test_with_a_key_every_call_needs_it(locked: Shop) -> None:
    """Row B20."""
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"X-Api-Key": KEY},
    )
    for number, (method, path) in enumerate(calls(locked)):
        if not (path.startswith("/v1/") or path in ("/metrics", "/s")) and not path.endswith("/part"):
            continue
        for headers in wrong:
            answer = locked.client.open(
                path,
                method=method,
                headers=headers,
                query_string={"api_key": KEY},
                # Wrong keys are limited by address.
                environ_base={"REMOTE_ADDR": f"10.0.0.{number}"},
            )
            if answer.status_code == 411:
                continue  # a body without a length is refused before anything else
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert_shape(answer, path)
    assert locked.client.get("/v1/catalogues", headers=BEARER).status_code == 200
    assert locked.client.get("/metrics", headers=BEARER).status_code == 200
    assert locked.client.get("/healthz").status_code == 200


def test_a_locked_page_shows_nothing_of_the_shop(locked: Shop) -> None:
    task_id = locked.client.post("/v1/searches", headers=BEARER, **upload()).json["id"]
    locked.answer_all()
    page = locked.client.get(f"/s/{task_id}")
    assert page.status_code == 401
    assert "Oak" not in page.text
    for path in ("/", "/p/demo/chair-1"):
        refused = locked.client.get(path, headers={"Accept": "text/html"})
        assert refused.status_code == 401
        assert "Sign in" in refused.text
        assert not re.search("demo<|Oak", refused.text)
    assert "Oak" in locked.client.get(f"/s/{task_id}/part", headers=BEARER).text


def test_a_key_is_not_logged(locked: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    from shared.process.log import configure_logging

    configure_logging("DEBUG", "json", "web")
    # Servers close an answer when it is sent, and only then it is logged.
    locked.client.get(f"/v1/catalogues?api_key={KEY}", headers=BEARER).close()
    written = capsys.readouterr().err
    assert "/v1/catalogues" in written
    assert KEY not in written
