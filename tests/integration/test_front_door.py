"""What is refused before any view sees it: wrong keys, made-up methods, malformed headers, foreign pages."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from shared.access.wrong_keys import WRONG_KEYS_PER_MINUTE, network_of
from shared.net.url_fetch import fetch_image
from shared.process.log import configure_logging
from shared.process.metrics import REGISTRY
from tests.web_builders import Shop, open_shop
from web.http import sessions, url_fetches
from web.http.security import KNOWN_METHODS

KEY = "a-long-secret-key"
BEARER = {"Authorization": f"Bearer {KEY}"}
MALFORMED = (
    "http://[",
    "http://[::1",
    "//[",
    "http://a:b:c]",
    "http://[x]",
    "http://a:99999999",
    "\\\\[",
    "[",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("open"))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("locked"), web={"api_key": KEY})


@pytest.fixture
def fresh(tmp_path: Path) -> Shop:
    """A locked shop to which no wrong key has come yet."""
    return open_shop(tmp_path, web={"api_key": KEY})


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield capsys
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def failures(how: str) -> float:
    return REGISTRY.get_sample_value("vitrine_auth_failures_total", {"how": how}) or 0.0


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer  ", "bearer", "", "Basic Og==", "Bearer \xff"]
)
def test_an_empty_credential_opens_nothing(locked: Shop, header: str) -> None:
    answer = locked.client.get("/v1/catalogues", headers={"Authorization": header})
    assert answer.status_code == 401
    assert locked.client.get("/v1/catalogues", headers=BEARER).status_code == 200


def test_an_empty_key_opens_nothing_even_where_it_was_set(shop: Shop) -> None:
    """The settings refuse one; should it get past them, it is no key all the same (C2)."""
    web = type(shop.settings.web).model_construct(api_key=None)
    settings = shop.settings.model_copy(update={"web": web})
    assert not sessions.is_api_key(settings, "")
    assert sessions.bootstrap_credential(settings) == "", "and no session has it"


def test_wrong_keys_are_limited_logged_and_counted_and_lock_nobody_out(
    fresh: Shop, log_lines: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO", "text", "web")
    before = failures("bearer")
    tries = WRONG_KEYS_PER_MINUTE + 20
    answers = [
        fresh.client.get("/v1/catalogues", headers={"Authorization": f"Bearer wrong-{n}"})
        for n in range(tries)
    ]
    assert [answer.status_code for answer in answers] == [401] * WRONG_KEYS_PER_MINUTE + [429] * 20
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert failures("bearer") == before + tries
    assert fresh.client.get("/v1/catalogues", headers=BEARER).status_code == 200, "the owner, same address"
    assert fresh.client.get("/v1/catalogues").status_code == 401, "no key at all is no wrong key"
    other = {"environ_base": {"REMOTE_ADDR": "10.1.2.3"}, "headers": {"Authorization": "Bearer wrong"}}
    assert fresh.client.get("/v1/catalogues", **other).status_code == 401, "another address"
    lines = [line for line in log_lines.readouterr().err.splitlines() if "wrong API key" in line]
    assert 30 <= len(lines) < tries, "a flood of guesses is no flood of lines"
    assert "address=127.0.0.1" in lines[0]
    assert "count_in_this_minute=1 " in lines[0] + " "
    assert "wrong-0" not in "".join(lines), "what was tried is nobody's business"


def test_wrong_sign_ins_are_counted_too(locked: Shop) -> None:
    before = failures("sign_in")
    locked.client.post("/sign-in", data={"key": "wrong"})
    assert failures("sign_in") == before + 1


def test_an_ipv6_network_counts_as_one_caller() -> None:
    assert (
        network_of("2001:db8:1:2:3::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    )
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("") == ""


@pytest.mark.parametrize("path", ["/", "/v1/catalogues", "/x", "/metrics", "/static/x"])
@pytest.mark.parametrize("method", ["MAAAAAA", "TRACE", "CONNECT", "PROPFIND", "G" * 2_000])
def test_unknown_methods_are_405_before_anything_else(locked: Shop, method: str, path: str) -> None:
    answer = locked.client.open(path, method=method, headers={"Host": "[", "Origin": "http://["})
    assert answer.status_code == 405
    assert answer.headers["Allow"]


def test_metrics_have_one_label_for_all_unknown_methods(shop: Shop) -> None:
    """H8: 8,000 made-up methods took 55 MB and made /metrics 12 MB long."""
    for number in range(200):
        shop.client.open("/x", method=f"MADE{number}").close()
    shop.client.get("/x").close()
    text = shop.client.get("/metrics").text
    labels = set(re.findall(r'method="([^"]*)"', text))
    assert labels <= {*KNOWN_METHODS, "other"}
    assert "other" in labels
    assert "GET" in labels


@pytest.mark.parametrize("text", MALFORMED)
@pytest.mark.parametrize(
    "path", ["/v1/searches", "/sign-in", "/sign-out", "/s", "/manage/imports", "/v1/webhooks"]
)
def test_malformed_addresses_in_headers_are_4xx(locked: Shop, shop: Shop, text: str, path: str) -> None:
    """L1: each of them was a 500 with a traceback."""
    for one in (locked, shop):
        for headers in ({"Origin": text}, {"Referer": text}, {"Host": text}, {"Referer": text, **BEARER}):
            for accept in ("text/html", "application/json"):
                wanted = {**headers, "Accept": accept}
                answer = one.client.post(path, headers=wanted, data={"next": text, "key": "x"})
                assert answer.status_code < 500, (headers, answer.text)
                assert "Origin" not in headers or answer.status_code == 403, headers
                assert "Host" not in headers or answer.status_code == 400, headers


@pytest.mark.slow
@pytest.mark.parametrize("text", MALFORMED)
@pytest.mark.parametrize(
    "path", ["/", "/sign-in", "/manage", "/operations", "/docs", "/p/demo/chair-1", "/healthz"]
)
def test_malformed_addresses_in_gets_are_no_500(locked: Shop, shop: Shop, text: str, path: str) -> None:
    for one in (locked, shop):
        for headers in ({"Referer": text}, {"Host": text}, {"Origin": text}, {"X-Forwarded-Host": text}):
            wanted = {"Accept": "text/html", **headers}
            answer = one.client.get(path, query_string={"next": text}, headers=wanted)
            assert answer.status_code < 500, headers
            assert one.client.head(path, headers=wanted).status_code < 500


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "user@localhost", "localhost:http", "a\x7f", "ä", "localhost:123456"]
)
def test_a_host_that_is_none_is_400(shop: Shop, host: str) -> None:
    assert shop.client.get("/healthz", headers={"Host": host}).status_code == 400
    assert shop.client.get("/healthz", headers={"Host": "localhost:8000"}).status_code == 200
    assert shop.client.get("/healthz", headers={"Host": "[::1]:8000"}).status_code == 200


def test_no_get_starts_work_for_another_site(shop: Shop) -> None:
    """L3: an image of any website made its visitor's Vitrine search."""
    before = shop.parts.searches.count_waiting(), len(shop.parts.jobs.list_recent(limit=50))
    values = {"catalogue": "demo", "product_id": "chair-1"}
    for rule in shop.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or not set(rule.arguments) <= set(values):
            continue
        for site in ("cross-site", "same-site"):
            address = rule.build({name: values[name] for name in rule.arguments})
            assert address is not None
            shop.client.get(address[1], headers={"Sec-Fetch-Site": site}).close()
    assert (shop.parts.searches.count_waiting(), len(shop.parts.jobs.list_recent(limit=50))) == before
    similar = "/v1/catalogues/demo/products/chair-1/similar"
    assert shop.client.get(similar, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert shop.client.get(similar, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 202
    assert shop.client.get(similar).status_code == 202


def test_addresses_that_drip_take_two_threads_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """M3: eight of them held every thread for eight seconds."""
    assert vars(url_fetches)["fetch_image"] is fetch_image
    shop, ends, begun = (
        open_shop(tmp_path, web={"url_import": True}),
        threading.Event(),
        threading.Semaphore(0),
    )

    def drips(url: str, max_bytes: int) -> bytes:
        begun.release()
        ends.wait(60)
        return b"no picture"

    monkeypatch.setattr(url_fetches, "fetch_image", drips)

    def search() -> int:
        wanted = {"catalogue": "demo", "image_url": "http://shop.example/x.jpg"}
        return shop.client.post("/v1/searches", json=wanted).status_code

    threads = [threading.Thread(target=search) for _ in range(url_fetches.MAX_FETCHES)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=30)
    try:
        assert search() == 429
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert search() != 429, "the places are given back"


CONTROLS = "\x1b[2J\x1b]0;pwn\x07\x00\x9b\x7f\r\nfaked line"


def test_control_characters_of_a_path_reach_no_log(shop: Shop, log_lines: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "text", "web")
    shop.client.get("/y%1b%5b2J%1b%5d0;pwn%07%0d%0afaked%9b%7f%e2%80%a8").close()
    written = log_lines.readouterr().err
    assert r"/y\x1b[2J\x1b]0;pwn\x07\r\nfaked" in written
    assert_clean(written)


@pytest.mark.parametrize("form", ["text", "json"])
def test_control_characters_of_any_event_are_encoded(
    form: str, log_lines: pytest.CaptureFixture[str]
) -> None:
    """In texts, fields, names, lists and exceptions, from structlog and the standard library alike."""
    configure_logging("INFO", form, "web")  # type: ignore[arg-type]
    log = structlog.get_logger("vitrine")
    log.warning(
        f"event {CONTROLS}", field=CONTROLS, rows=[{CONTROLS: (CONTROLS,)}], other=ValueError(CONTROLS)
    )
    for name in ("celery.worker", "gunicorn.error", "elsewhere"):
        logging.getLogger(name).warning("row %s", CONTROLS)
    try:
        raise ValueError(CONTROLS)
    except ValueError:
        logging.getLogger("celery.worker").exception("failed")
        log.exception("failed too")
    written = log_lines.readouterr().err
    assert_clean(written)
    if form == "json":
        assert all(json.loads(line) for line in written.splitlines())
    assert not re.search("^faked line", written, re.MULTILINE)


def assert_clean(written: str) -> None:
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", written), written


@pytest.mark.parametrize(
    "chosen", ["a" * 7, "a" * 65, "x\x1b[2J12345", "with blank", "ä" * 9, "%1b%1b%1b%1b", "id\n"]
)
def test_a_request_id_is_the_callers_only_when_it_is_harmless(shop: Shop, chosen: str) -> None:
    answer = shop.client.get("/healthz", environ_overrides={"HTTP_X_REQUEST_ID": chosen})
    assert re.fullmatch("[0-9a-f-]{36}", answer.headers["X-Request-Id"])
