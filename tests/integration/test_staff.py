"""Members of staff whom a trusted proxy names in a header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.settings import Settings
from tests.key_builders import OWNER_KEY
from tests.web_builders import Shop, open_shop

HEADER = "X-Auth-Request-Email"
WEB = {
    "api_key": OWNER_KEY,
    "proxies": 1,
    "staff_header": HEADER,
    "staff": "ann@shop.example=owner, bob@shop.example=catalogue",
}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, web=WEB)


def test_a_named_member_of_staff_has_the_role_of_the_setting(shop: Shop) -> None:
    client = shop.client
    assert client.get("/v1/keys", headers={HEADER: "Ann@Shop.example"}).status_code == 200
    assert client.get("/v1/catalogues", headers={HEADER: "bob@shop.example"}).status_code == 200
    assert client.get("/v1/keys", headers={HEADER: "bob@shop.example"}).status_code == 403
    made = client.put("/v1/catalogues/new", headers={HEADER: "ann@shop.example"}, json={})
    assert made.status_code == 200
    assert shop.parts.audit.list_page()[0].actor == "staff:ann@shop.example"


def test_others_are_refused_with_what_to_do(shop: Shop) -> None:
    for name in ("eve@shop.example", "ann@shop.example,eve@shop.example"):
        refused = shop.client.get("/v1/catalogues", headers={HEADER: name})
        assert (refused.status_code, "VITRINE_WEB__STAFF" in refused.text) == (403, True)
    assert shop.client.get("/v1/catalogues").status_code == 401, "no header at all"
    assert shop.client.get("/v1/catalogues", headers={HEADER: ""}).status_code == 401


def test_pages_of_other_sites_cannot_act_for_staff(shop: Shop) -> None:
    headers = {HEADER: "ann@shop.example", "Origin": "https://elsewhere.example"}
    assert shop.client.put("/v1/catalogues/theirs", headers=headers, json={}).status_code == 403


def test_a_shopper_whom_the_proxy_names_is_a_visitor(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, web={**WEB, "public": "demo"})
    assert shop.client.get("/", headers={HEADER: "eve@shop.example"}).status_code == 200
    assert shop.client.get("/manage", headers={HEADER: "eve@shop.example"}).status_code == 403


def test_it_is_off_by_default(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, web={"api_key": OWNER_KEY, "proxies": 1, "staff": WEB["staff"]})
    assert shop.client.get("/v1/catalogues", headers={HEADER: "ann@shop.example"}).status_code == 401


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"proxies": 0}, "which any client can send"),
        ({"staff": "ann"}, "NAME=ROLE"),
        ({"staff": "ann=search"}, "catalogue, operate, owner"),
        ({"staff_header": "X Email"}, "staff_header"),
    ],
)
def test_a_start_that_would_trust_anyone_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Settings(web={**WEB, **changed})
