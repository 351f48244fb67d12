"""Each role against each route; ids of other tenants."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Rule

from shared.access.roles import Role
from shared.contracts.keys import KeyMade
from shared.searches.cursors import Cursor
from tests.key_builders import OWNER, OWNER_KEY, bearer, make_key
from tests.web_builders import IMAGE_ID, Shop, open_shop, upload
from web.http import roles
from web.http.roles import ACCESS, access_of
from web.http.scope import _CHECKS

#: Stated here once more, so that a slip in the table fails.
SEARCH = {
    "POST /v1/searches",
    "GET /v1/tasks/<task_id>",
    "DELETE /v1/tasks/<task_id>",
    "GET /v1/tasks/<task_id>/events",
    "DELETE /v1/searches/<task_id>",
    "GET /v1/searches/<search_id>/image",
    "POST /v1/feedback",
    "GET /v1/images/<image_id>",
    "GET /v1/catalogues/<catalogue>/products/<product:product_id>",
    "GET /v1/catalogues/<catalogue>/products/<product:product_id>/similar",
}
OPERATE = re.compile(
    r"/(metrics|operations|v1/status)$"
    r"|/(reconcile|reprocess|promote|rollback|prune|rebuild|calibrate)$|/indexes/<action>$"
)
OWN = re.compile(
    r" /v1/(webhooks|keys|audit|sessions)| /manage/(keys|sessions|audit)"
    r"|(PUT|DELETE) /v1/catalogues/<catalogue>$"
    r"|POST /manage/catalogues$|POST /manage/catalogues/<catalogue>/delete$"
)
OPEN = re.compile(
    r" /(healthz|readyz|docs|openapi.json|offline|sw.js|manifest.webmanifest|sign-(in|out)"
    r"|static/.*|widget/.*|brand/.*)$"
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = open_shop(tmp_path_factory.mktemp("shop"), web={"api_key": OWNER_KEY})
    shop.parts.catalogue.create("other")
    return shop


def calls(shop: Shop) -> list[tuple[str, Rule]]:
    return [
        (method, rule)
        for rule in shop.app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def expected_role(call: str) -> Role | None:
    if OPEN.search(call):
        return None
    if call in SEARCH:
        return Role.SEARCH
    if OWN.search(call):
        return Role.OWNER
    return Role.OPERATE if OPERATE.search(call) else Role.CATALOGUE


def address_of(rule: Rule) -> str:
    values = {"catalogue": "demo", "product_id": "chair-1", "image_id": IMAGE_ID}
    path = re.sub(r"<int:\w+>", "9", rule.rule)
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values.get(found[1], "missing"), path)


def test_every_route_has_an_entry_and_every_entry_a_route(shop: Shop) -> None:
    endpoints = {rule.endpoint for rule in shop.app.url_map.iter_rules()}
    assert endpoints - set(ACCESS) == set(), "routes without a minimum role"
    assert set(ACCESS) - endpoints == set(), "entries without a route"
    assert access_of("a.new_route", "/new") is roles.OWNER, "nothing is open by default"


def test_every_id_in_an_address_is_checked_or_belongs_to_a_checked_one(shop: Shop) -> None:
    for rule in shop.app.url_map.iter_rules():
        unchecked = set(rule.arguments) - set(_CHECKS) - {"filename", "action"}
        needed = access_of(rule.endpoint, rule.rule).role
        is_below_catalogue = "catalogue" in rule.arguments
        is_for_all = needed in (None, Role.OWNER)
        assert not unchecked or is_below_catalogue or is_for_all, rule


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_it_should_and_nothing_else(tmp_path: Path, role: Role) -> None:
    shop = open_shop(tmp_path, web={"api_key": OWNER_KEY})  # an owner deletes its catalogue
    key = make_key(shop, role, per_minute=1_000_000)
    for method, rule in calls(shop):
        call, needed = f"{method} {rule.rule}", expected_role(f"{method} {rule.rule}")
        answer = shop.client.open(address_of(rule), method=method, headers=bearer(key), json={})
        is_refused = answer.status_code == 403 and "has the role" in answer.text
        assert answer.status_code != 401, call
        assert is_refused == (needed is not None and not role.includes(needed)), (call, answer.status_code)
        answer.close()


def test_nothing_but_open_routes_answers_without_a_key(shop: Shop) -> None:
    for number, (method, rule) in enumerate(calls(shop)):
        if expected_role(f"{method} {rule.rule}") is None:
            continue
        answer = shop.client.open(
            address_of(rule), method=method, json={}, environ_base={"REMOTE_ADDR": f"10.0.0.{number}"}
        )
        assert answer.status_code == 401, rule
        answer.close()


@pytest.fixture(scope="module")
def other(shop: Shop) -> KeyMade:
    return make_key(shop, "catalogue", catalogues=["other"])


def same_as_missing(shop: Shop, key: KeyMade, address: str, missing: str, **arguments: Any) -> None:
    """The answer to a foreign id is that to an unknown one, but for the id."""
    found = shop.client.open(address, headers=bearer(key), **arguments)
    unknown = shop.client.open(missing, headers=bearer(key), **arguments)
    assert found.status_code == unknown.status_code == 404, (address, found.text)
    assert set(found.json or {}) == set(unknown.json or {})
    errors = [{**(each.json or {})["error"], "request_id": ""} for each in (found, unknown)]
    parts = set(re.split(r"[/?=&]", address)) ^ set(re.split(r"[/?=&]", missing))
    texts = [re.sub("|".join(map(re.escape, parts)), "ID", error["message"]) for error in errors]
    assert texts[0] == texts[1]
    assert errors[0]["code"] == errors[1]["code"]


def test_a_bound_key_gets_404_for_ids_of_other_catalogues(shop: Shop, other: KeyMade) -> None:
    unknown = "00000000-0000-0000-0000-00000000000f"
    for path in (
        "",
        "/boosts",
        "/products/chair-1",
        "/products/chair-1/similar",
        "/indexes",
        "/feedback.csv",
    ):
        same_as_missing(shop, other, f"/v1/catalogues/demo{path}", f"/v1/catalogues/nowhere{path}")
    body = {"method": "PUT", "json": {"titles": {"en": "x"}}}
    same_as_missing(
        shop, other, "/v1/catalogues/demo/products/p", "/v1/catalogues/nowhere/products/p", **body
    )
    same_as_missing(shop, other, f"/v1/images/{IMAGE_ID}", f"/v1/images/{'f' * 32}")
    task = (shop.client.post("/v1/searches", headers=OWNER, **upload()).json or {})["id"]
    for path in ("/v1/tasks/{}", "/v1/tasks/{}/events", "/v1/searches/{}/image", "/s/{}", "/s/{}/part"):
        same_as_missing(shop, other, path.format(task), path.format(unknown))
    job = shop.client.put("/v1/catalogues/demo/products/p2", headers=OWNER, json={"titles": {"en": "x"}})
    job_id = (job.json or {})["id"]
    for path in ("", "/failures", "/failures.csv", "/events"):
        same_as_missing(shop, other, f"/v1/jobs/{job_id}{path}", f"/v1/jobs/{unknown}{path}")
    same_as_missing(shop, other, f"/v1/jobs/{job_id}/cancel", f"/v1/jobs/{unknown}/cancel", method="POST")
    same_as_missing(
        shop, other, f"/manage/jobs/{job_id}/cancel", f"/manage/jobs/{unknown}/cancel", method="POST"
    )
    assert shop.client.get(f"/v1/jobs/{job_id}", headers=OWNER).status_code == 200, "control"


def test_lists_show_a_bound_key_its_catalogues_only(shop: Shop, other: KeyMade) -> None:
    shop.client.put("/v1/catalogues/demo/products/p3", headers=OWNER, json={"titles": {"en": "x"}})
    headers = bearer(other)
    listed = shop.client.get("/v1/catalogues", headers=headers).json
    assert [each["name"] for each in listed or []] == ["other"]
    assert shop.client.get("/v1/jobs", headers=headers).json == []
    assert shop.client.get("/v1/jobs?catalogue=demo", headers=headers).json == []
    assert shop.client.get("/v1/jobs", headers=OWNER).json, "control"
    for page in ("/", "/manage", "/manage/import", "/manage/jobs"):
        text = shop.client.get(page, headers={**headers, "Accept": "text/html"}).text
        assert ">demo<" not in text, page
        assert "Product update" not in text, page
    form = {"catalogue": "demo", "source": "/srv/x"}
    refused = shop.client.post("/manage/imports", headers=headers, data=form)
    assert refused.status_code == 404


def test_a_bound_operator_reads_nothing_of_the_whole_system(shop: Shop) -> None:
    bound = make_key(shop, "operate", catalogues=["other"])
    for path in ("/metrics", "/v1/status", "/operations"):
        refused = shop.client.get(path, headers=bearer(bound))
        assert refused.status_code == 403, path
        assert "Use a key without catalogues" in refused.text
    whole = make_key(shop, "operate")
    assert shop.client.get("/metrics", headers=bearer(whole)).status_code == 200


def test_searches_name_the_catalogue_of_the_key(shop: Shop, other: KeyMade) -> None:
    def catalogue_of(key: KeyMade, **fields: Any) -> str:
        made = shop.client.post("/v1/searches", headers=bearer(key), **upload(**fields))
        assert made.status_code == 202, made.text
        return shop.parts.searches.load_earlier((made.json or {})["id"]).options.catalogue

    assert catalogue_of(other) == "other"
    assert catalogue_of(make_key(shop)) == "demo"
    assert catalogue_of(make_key(shop, "catalogue")) == "demo", "as before for keys of all catalogues"
    several = make_key(shop, "catalogue", catalogues=["demo", "other"])
    refused = shop.client.post("/v1/searches", headers=bearer(several), **upload())
    assert (refused.status_code, "demo, other" in refused.text) == (422, True)
    assert catalogue_of(several, catalogue="other") == "other"
    foreign = shop.client.post("/v1/searches", headers=bearer(other), **upload(catalogue="demo"))
    assert foreign.status_code == 404
    assert (foreign.json or {})["error"]["code"] == "unknown_catalogue"
    shop.answer_all()


def test_a_search_belongs_to_the_key_that_made_it(shop: Shop) -> None:
    mine, theirs = make_key(shop), make_key(shop)
    made = shop.client.post("/v1/searches", headers={**bearer(mine), "Idempotency-Key": "k"}, **upload())
    task = (made.json or {})["id"]
    shop.answer_all()
    for path in ("/v1/tasks/{}", "/v1/tasks/{}/events", "/v1/searches/{}/image"):
        assert shop.client.get(path.format(task), headers=bearer(mine)).status_code == 200
        assert shop.client.get(path.format(task), headers=OWNER).status_code == 200, "the owner may"
        same_as_missing(shop, theirs, path.format(task), path.format("0" * 36))
    same_as_missing(shop, theirs, f"/v1/tasks/{task}", f"/v1/tasks/{'0' * 36}", method="DELETE")
    again = {"json": {"query_id": task}}
    assert shop.client.post("/v1/searches", headers=bearer(theirs), **again).status_code == 404
    assert shop.client.post("/v1/searches", headers=bearer(mine), **again).status_code == 202
    further = {"json": {"after": Cursor(task, 0, 1).text()}}
    assert shop.client.post("/v1/searches", headers=bearer(theirs), **further).status_code == 404
    assert shop.client.post("/v1/searches", headers=bearer(mine), **further).status_code == 202
    repeated = shop.client.post(
        "/v1/searches", headers={**bearer(theirs), "Idempotency-Key": "k"}, **upload()
    )
    assert (repeated.json or {})["id"] != task, "an Idempotency-Key of another opens nothing"
    own = shop.client.post("/v1/searches", headers={**bearer(mine), "Idempotency-Key": "k"}, **upload())
    assert (own.json or {})["id"] == task
    shop.answer_all()
