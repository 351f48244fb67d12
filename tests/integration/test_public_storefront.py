"""The public storefront: what a stranger without a key may do, and what belongs to a visitor."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import ValidationError

from shared.database.tables import DeletedSearch, Search
from shared.retention.expiry import unused_query_images
from shared.searches.cursors import Cursor
from shared.searches.deletion import KEEP_IDS_S, SearchDeletion
from shared.settings import Settings
from tests.key_builders import OWNER, OWNER_KEY, bearer, make_key
from tests.web_builders import IMAGE_ID, Shop, open_shop, picture, result_of, upload
from web.http import visitors
from web.http.roles import ACCESS

PAGE = {"Accept": "text/html"}
#: All that a stranger may call, without open files.
VISITORS = {
    "pages.shopper.show_start",
    "pages.shopper.create_search",
    "pages.shopper.show_search",
    "pages.shopper.show_part",
    "pages.products.show_product",
    "pages.own_search.delete_search",
    "pages.own_search.set_photo_visibility",
    "searches.create_search",
    "searches.poll_search",
    "searches.cancel_search",
    "searches.delete_search",
    "searches.get_search_photo",
    "events.stream_search_events",
    "feedback.add_feedback",
    "images.get_image",
}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    web = {"api_key": OWNER_KEY, "public": "demo", "visitor_searches_per_minute": 50}
    return open_shop(tmp_path, web=web, feedback={"enabled": True})


def search(shop: Shop, client: FlaskClient, **fields: Any) -> str:
    """Search by photo as the page's script does, and have it answered."""
    made = client.post("/v1/searches", **upload(**fields))
    assert made.status_code == 202, made.text
    shop.answer_all()
    return str((made.json or {})["id"])


def test_visitors_may_call_what_the_pages_need_and_nothing_else() -> None:
    assert {endpoint for endpoint, access in ACCESS.items() if access.for_visitors} == VISITORS


def test_a_stranger_reaches_no_other_route(shop: Shop) -> None:
    shop.parts.catalogue.create("secret")
    for number, rule in enumerate(shop.app.url_map.iter_rules()):
        access = ACCESS[rule.endpoint]
        if access.role is None or access.for_visitors:
            continue
        path = re.sub(r"<[^<>]+>", "demo", re.sub(r"<int:[^<>]+>", "9", rule.rule))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            answer = shop.client.open(
                path, method=method, json={}, environ_base={"REMOTE_ADDR": f"10.0.0.{number}"}
            )
            assert answer.status_code == 401, (method, path)


def test_a_stranger_searches_and_opens_products(shop: Shop) -> None:
    client = shop.client
    start = client.get("/", headers=PAGE)
    assert (start.status_code, "Oak chair" in start.text) == (200, True)
    task = search(shop, client)
    assert client.get(f"/v1/tasks/{task}").json["state"] == "succeeded"
    assert "Oak" in client.get(f"/s/{task}", headers=PAGE).text
    assert client.get(f"/s/{task}/part").status_code == 200
    assert client.get(f"/v1/searches/{task}/image").status_code == 200
    assert client.get("/p/demo/chair-1", headers=PAGE).status_code == 200
    picture_ = client.get(f"/v1/images/{IMAGE_ID}")
    assert picture_.status_code == 200
    assert picture_.headers["Cache-Control"].startswith("public")
    liked = {"query_id": task, "product_id": "chair-1", "kind": "click", "object": 0}
    assert client.post("/v1/feedback", json=liked).status_code == 201
    refined = client.post("/s", data={"query_id": task, "price_max": "10", "catalogue": "demo"})
    assert refined.status_code == 303, refined.text


def test_only_public_catalogues_are_offered(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, web={"api_key": OWNER_KEY, "public": "demo, winter"})
    shop.parts.catalogue.create("secret")
    shop.parts.catalogue.create("winter")
    client = shop.client
    text = client.get("/?catalogue=secret", headers=PAGE).text
    assert {"demo", "winter"} == set(re.findall(r"<option[^<>]*>([^<]+)</option>", text)) & {
        "demo",
        "winter",
        "secret",
    }
    assert client.post("/v1/searches", **upload(catalogue="secret")).status_code == 404
    assert client.post("/v1/searches", **upload(catalogue="winter")).status_code == 202
    unnamed = client.post("/v1/searches", **upload())
    assert (unnamed.status_code, "demo, winter" in unnamed.text) == (422, True)
    assert client.get("/p/secret/x", headers=PAGE).status_code == 404
    own = shop.client.post("/v1/searches", headers=OWNER, **upload(catalogue="secret")).json["id"]
    shop.answer_all()
    assert client.get(f"/s/{own}", headers=PAGE).status_code == 404
    assert client.get(f"/v1/tasks/{own}").status_code == 404


def test_the_cookie_is_anonymous_and_kept_from_scripts(shop: Shop) -> None:
    answer = shop.client.get("/", headers=PAGE)
    cookie = SimpleCookie(answer.headers["Set-Cookie"])[visitors.COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (
        True,
        "Lax",
        "/",
        "",
    )
    secure = shop.client.get("/", headers=PAGE, base_url="https://localhost")
    cookie = SimpleCookie(secure.headers["Set-Cookie"])[f"__Host-{visitors.COOKIE}"]
    assert cookie["secure"] is True
    client = shop.client
    first, second = client.get("/", headers=PAGE), client.get("/", headers=PAGE)
    assert "Set-Cookie" in first.headers
    assert "Set-Cookie" not in second.headers, "it is kept"
    assert "Set-Cookie" not in shop.client.get("/", headers={**OWNER, **PAGE}).headers
    shop.client.set_cookie(visitors.COOKIE, "chosen-by-another")
    assert "Set-Cookie" in shop.client.get("/", headers=PAGE).headers


def test_a_search_belongs_to_its_visitor(shop: Shop) -> None:
    client, other = shop.client, shop.client
    other.get("/", headers=PAGE)
    task = search(shop, client)
    for path in ("/v1/tasks/{}", "/v1/tasks/{}/events", "/v1/searches/{}/image"):
        assert client.get(path.format(task)).status_code == 200
        assert other.get(path.format(task)).status_code == 404, path
        assert shop.client.get(path.format(task)).status_code == 404, "a visitor without a cookie"
        assert shop.client.get(path.format(task), headers=bearer(make_key(shop))).status_code == 404
    for method, path in (
        ("DELETE", f"/v1/tasks/{task}"),
        ("DELETE", f"/v1/searches/{task}"),
        ("POST", f"/s/{task}/delete"),
        ("POST", f"/s/{task}/sharing"),
    ):
        assert other.open(path, method=method, data={"shared": "yes"}).status_code == 404, path
    disliked = {"query_id": task, "product_id": "chair-1", "kind": "click", "object": 0}
    assert other.post("/v1/feedback", json=disliked).status_code == 404
    assert other.post("/v1/searches", json={"query_id": task}).status_code == 404
    assert client.get(f"/v1/searches/{task}/image").status_code == 200, "nothing was changed"


def test_a_shared_link_shows_the_hits_and_not_the_photo(shop: Shop) -> None:
    client, other = shop.client, shop.client
    task = search(shop, client)
    address = f"/v1/searches/{task}/image"
    mine, theirs = client.get(f"/s/{task}", headers=PAGE).text, other.get(f"/s/{task}", headers=PAGE).text
    assert "Oak" in theirs
    assert address in mine
    assert address not in theirs
    assert "/delete" in mine
    assert "/delete" not in theirs
    shown = client.post(f"/s/{task}/sharing", data={"shared": "yes"})
    assert shown.status_code == 303
    assert address in other.get(f"/s/{task}", headers=PAGE).text
    assert other.get(address).status_code == 200
    assert other.get(f"/v1/tasks/{task}").status_code == 404, "the photo alone was shared"
    client.post(f"/s/{task}/sharing", data={"shared": "no"})
    assert other.get(address).status_code == 404


def test_a_link_refines_the_result_and_never_shows_the_photo(shop: Shop) -> None:
    client, other = shop.client, shop.client
    task = search(shop, client)
    for form in ({"query_id": task, "catalogue": "demo"}, {"after": Cursor(task, 0, 1).text()}):
        made = other.post("/s", data=form)
        assert made.status_code == 303, made.text
        new = made.headers["Location"].rpartition("/")[2].partition("?")[0]
        shop.answer_all()
        assert other.get(f"/v1/tasks/{new}").status_code == 200, "control: the new search is theirs"
        assert other.get(f"/v1/searches/{new}/image").status_code == 404
        assert other.post(f"/s/{new}/sharing", data={"shared": "yes"}).status_code == 404
        again = other.post("/v1/searches", json={"query_id": new})
        shop.answer_all()
        assert other.get(f"/v1/searches/{again.json['id']}/image").status_code == 404


def test_a_deleted_photo_is_gone_at_once(shop: Shop) -> None:
    client, other = shop.client, shop.client
    task = search(shop, client)
    key = shop.parts.searches.query_key(task)
    assert key
    liked = {"query_id": task, "product_id": "chair-1", "kind": "right", "object": 0}
    feedback = client.post("/v1/feedback", json=liked).json["id"]
    repeated = client.post("/v1/searches", json={"query_id": task}).json["id"]
    by_link = other.post("/s", data={"query_id": task, "catalogue": "demo"})
    theirs = by_link.headers["Location"].rpartition("/")[2]
    assert client.delete(f"/v1/searches/{task}").status_code == 204
    assert not shop.parts.store.exists(key, "queries")
    assert shop.client.get(f"/v1/feedback/{feedback}/photo", headers=OWNER).status_code == 404
    with shop.parts.database.read() as session:
        assert session.query(Search).count() == 0, "repetitions have its vectors"
    for gone in (task, repeated, theirs):
        for path in (f"/v1/tasks/{gone}", f"/v1/searches/{gone}/image", f"/s/{gone}", f"/s/{gone}/part"):
            for who in (client, other):
                answer = who.get(path)
                assert (answer.status_code, "was deleted" in answer.text) == (410, True), path
    assert client.delete(f"/v1/searches/{task}").status_code == 410
    assert client.post("/v1/searches", json={"query_id": task}).status_code == 410
    assert shop.answer_all() == [], "no worker gets what was waiting"


def test_the_same_bytes_of_another_visitor_stay(shop: Shop) -> None:
    client, other = shop.client, shop.client
    data = picture()
    mine = search(shop, client)
    theirs = other.post("/v1/searches", **upload(data)).json["id"]
    assert shop.parts.searches.query_key(mine) == shop.parts.searches.query_key(theirs), "control"
    client.delete(f"/v1/searches/{mine}")
    assert other.get(f"/v1/searches/{theirs}/image").status_code == 200


def test_a_claimed_search_that_is_deleted_is_not_answered(shop: Shop) -> None:
    client = shop.client
    task = client.post("/v1/searches", **upload()).json["id"]
    claims = shop.desk().claim(10)
    assert [claim.id for claim in claims] == [task]
    assert client.delete(f"/v1/searches/{task}").status_code == 204
    assert shop.desk().answer([(claims[0], result_of(claims[0]))]) == []
    shop.desk().fail(claims[0], "internal", "x")
    assert client.get(f"/v1/tasks/{task}").status_code == 410


def test_the_control_on_the_page_deletes_without_scripts(shop: Shop) -> None:
    client = shop.client
    task = search(shop, client)
    page = client.get(f"/s/{task}", headers=PAGE).text
    assert f'action="/s/{task}/delete"' in page
    answer = client.post(f"/s/{task}/delete", headers=PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/s/{task}")
    gone = client.get(f"/s/{task}", headers=PAGE)
    assert (gone.status_code, "was deleted with its photo" in gone.text) == (410, True)


def test_the_owner_reads_and_deletes_all(shop: Shop) -> None:
    task = search(shop, shop.client)
    assert shop.client.get(f"/v1/searches/{task}/image", headers=OWNER).status_code == 200
    assert shop.client.delete(f"/v1/searches/{task}", headers=OWNER).status_code == 204
    assert shop.client.get(f"/v1/tasks/{task}", headers=OWNER).status_code == 410


def test_ids_of_deleted_searches_are_forgotten_in_the_end(shop: Shop) -> None:
    deletion = SearchDeletion(shop.parts.database)
    with shop.parts.database.write() as session:
        session.add(DeletedSearch(id="old", deleted_at=1.0))
        session.add(DeletedSearch(id="new", deleted_at=KEEP_IDS_S * 1e6))
    assert deletion.forget_ids() == 1
    assert list(unused_query_images(shop.parts.database, [])) == []


def test_visitors_are_limited_by_cookie_and_by_address(tmp_path: Path) -> None:
    web = {"api_key": OWNER_KEY, "public": "demo", "visitor_searches_per_minute": 2, "searches_per_minute": 4}
    shop = open_shop(tmp_path, web=web)
    client = shop.client
    client.get("/", headers=PAGE)
    answers = [client.post("/v1/searches", **upload()) for _ in range(3)]
    assert [each.status_code for each in answers] == [202, 202, 429]
    assert [each.headers["RateLimit-Remaining"] for each in answers] == ["1", "0", "0"]
    assert "Wait" in answers[-1].json["error"]["message"]
    fresh = [shop.client.post("/v1/searches", **upload()).status_code for _ in range(3)]
    assert fresh == [202, 202, 429], "new cookies do not help"


def test_other_sites_cannot_use_the_storefront(shop: Shop) -> None:
    foreign = {"Origin": "https://elsewhere.example"}
    assert shop.client.post("/v1/searches", headers=foreign, **upload()).status_code == 403
    assert shop.client.post("/s", headers=foreign, **upload()).status_code == 403


def test_sites_of_keys_may_frame_the_storefront_and_nothing_else(shop: Shop) -> None:
    closed = shop.client.get("/", headers=PAGE).headers
    assert (closed["X-Frame-Options"], "frame-ancestors 'none'" in closed["Content-Security-Policy"]) == (
        "DENY",
        True,
    )
    make_key(shop)
    shop.parts.key_ring.forget()
    framed = shop.client.get("/", headers={**PAGE, "Sec-Fetch-Dest": "iframe"}, base_url="https://localhost")
    assert "frame-ancestors https://shop.example;" in framed.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in framed.headers
    cookie = framed.headers["Set-Cookie"]
    assert {"Partitioned", "Secure", "HttpOnly", "SameSite=None"} <= set(cookie.split("; "))
    for path, headers in (("/manage", OWNER), ("/sign-in", {}), ("/", OWNER), ("/docs", {})):
        answer = shop.client.get(path, headers={**PAGE, **headers})
        assert answer.headers["X-Frame-Options"] == "DENY", path
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_without_the_setting_nothing_is_public(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, web={"api_key": OWNER_KEY})
    for path in ("/", "/p/demo/chair-1", f"/v1/images/{IMAGE_ID}"):
        assert shop.client.get(path).status_code == 401
    assert shop.client.post("/v1/searches", **upload()).status_code == 401


@pytest.mark.parametrize(
    ("web", "says"),
    [
        ({"public": "demo"}, "set VITRINE_WEB__API_KEY"),
        ({"proxies": 1}, "set VITRINE_WEB__API_KEY"),
        ({"host": "0.0.0.0"}, "set VITRINE_WEB__API_KEY"),
        ({"public": "Demo shop", "api_key": OWNER_KEY}, "separated by commas"),
    ],
)
def test_a_start_that_would_leave_the_owners_side_open_is_refused(web: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Settings(web=web)
    assert Settings(web={"public": "demo", "api_key": OWNER_KEY}).web.public_catalogues == {"demo"}


def test_no_browser_keeps_a_photo_that_was_deleted_or_hidden(shop: Shop) -> None:
    client, other = shop.client, shop.client
    task = search(shop, client)
    path = f"/v1/searches/{task}/image"
    client.post(f"/s/{task}/sharing", data={"shared": "yes"})
    seen = other.get(path)
    assert seen.headers["Cache-Control"] == "private, no-cache", "the browser asks before it shows it again"
    known = {"If-None-Match": seen.headers["ETag"]}
    again = other.get(path, headers=known)
    assert (again.status_code, again.data) == (304, b""), "the bytes are sent once"
    client.post(f"/s/{task}/sharing", data={"shared": "no"})
    assert other.get(path, headers=known).status_code == 404
    assert client.get(path, headers=known).status_code == 304
    client.delete(f"/v1/searches/{task}")
    assert client.get(path, headers=known).status_code == 410
