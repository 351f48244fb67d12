"""The pages as the server draws them: forms without an upload, wishes, the product sheet, what is kept."""

from __future__ import annotations

import gzip
import json
import re
import threading
from pathlib import Path

import pytest

from shared.contracts import SearchOptions
from tests.web_builders import IMAGE_ID, Shop, open_shop, upload
from web.storefront.installed import hash_folder
from web.storefront.products import list_attributes
from web.storefront.refining import Refinements

PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def found(shop: Shop) -> str:
    """The id of a search by photo that is answered."""
    sent = shop.client.post("/s", headers=PAGE, **upload(catalogue="demo"))
    shop.answer_all()
    return str(sent.headers["Location"].rsplit("/", 1)[1])


def asked_with(shop: Shop, address: str) -> SearchOptions:
    search_id = address.split("/s/")[1].split("?")[0]
    return shop.parts.searches.load_earlier(search_id).options


@pytest.mark.parametrize(
    "wishes",
    [
        Refinements(),
        Refinements("Chairs"),
        Refinements(min_price="5"),
        Refinements(max_price="9.5"),
        Refinements("A b", "5", "1234567.5"),
        Refinements(colour="red", brand='Say "hello"'),
        Refinements("Chairs", max_price="9.5", colour="grey", brand="Müller & Co", min_probability=0.5),
        Refinements(min_probability=0.5),
        Refinements("Chairs", like=("a", "b"), unlike=("c",)),
    ],
)
def test_wishes_come_back_from_the_search_they_made(wishes: Refinements) -> None:
    options = SearchOptions(
        category=wishes.category or None,
        filter=wishes.filter,
        min_probability=wishes.min_probability or None,
        like=wishes.like,
        unlike=wishes.unlike,
    )
    assert Refinements.from_options(options) == wishes


def test_a_filter_that_no_page_wrote_is_no_wish() -> None:
    for text in ('colour in ["red", "blue"]', "price < 5", 'tags contains "sale" and price <= 5', "price <="):
        assert Refinements.from_options(SearchOptions(filter=text)) == Refinements()


def test_a_form_asks_again_without_an_upload(shop: Shop, found: str) -> None:
    form = {
        "query_id": found,
        "of": found,
        "sort": "cheapest",
        "category": "Chairs",
        "price_min": "5",
        "price_max": "9,50",
        "box": "0.1,0.2,0.5,0.6",
        "locale": "de",
    }
    sent = shop.client.post("/s", data=form, headers=PAGE)
    assert sent.status_code == 303
    address = sent.headers["Location"]
    assert re.search(rf"\?of={found}&sort=cheapest$", address)
    options = asked_with(shop, address)
    assert (options.category, options.filter) == ("Chairs", "price >= 5 and price <= 9.5")
    assert (options.box, options.locale) == ((0.1, 0.2, 0.5, 0.6), "de")
    shop.answer_all()
    page = shop.client.get(address).text
    assert f'name="query_id" value="{found}"' in page
    assert 'name="price_min" value="5"' in page
    assert "Your frame" in page
    assert f"/v1/searches/{found}/image" in page  # the photo stays the first one's, so it is loaded once


def test_a_script_gets_the_way_as_json(shop: Shop) -> None:
    form = {"product_id": "chair-1", "catalogue": "demo"}
    sent = shop.client.post("/s", data=form, headers={"Accept": "application/json"})
    assert sent.json["url"] == f"/s/{sent.json['id']}"
    waiting = shop.client.get(f"{sent.json['url']}/part")
    assert (waiting.status_code, waiting.text) == (202, "queued")
    shop.answer_all()
    assert "Similar to Oak chair" in shop.client.get(f"{sent.json['url']}/part").text


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"price_min": "cheap"}, 422),
        ({"query_id": "no-id"}, 422),
        ({"product_id": "nobody"}, 404),
    ],
)
def test_a_wrong_form_is_explained(shop: Shop, form: dict[str, str], status: int) -> None:
    answer = shop.client.post("/s", data=form, headers=PAGE)
    assert answer.status_code == status
    assert "<h1>" in answer.text


def test_another_photos_search_is_no_root(shop: Shop, found: str) -> None:
    other = shop.client.post("/s", headers=PAGE, **upload(catalogue="demo", data=None)).headers["Location"]
    by_product = shop.client.post("/s", data={"product_id": "chair-1"}, headers=PAGE).headers["Location"]
    shop.answer_all()
    for address in (by_product, f"{other}"):
        page = shop.client.get(f"{address}?of=00000000-0000-0000-0000-000000000000").text
        assert f'data-root="{address.rsplit("/", 1)[1]}"' in page
    assert f'data-root="{found}"' not in shop.client.get(f"{by_product}?of={found}").text


def test_the_sheet_tells_what_the_catalogue_says(shop: Shop) -> None:
    sheet = shop.client.get("/p/demo/chair-1", headers={"Accept-Language": "de"}).text
    assert "Eichenstuhl" in sheet
    assert f"/v1/images/{IMAGE_ID}?size=640" in sheet
    assert shop.client.get("/p/demo/gone", headers=PAGE).status_code == 404
    assert shop.client.get("/p/nowhere/chair-1", headers=PAGE).status_code == 404


def test_facts_are_what_can_be_read() -> None:
    attributes = list_attributes(
        {"size_cm": [1, 2.5], "oak": True, "deep": {"a": 1}, "empty": "", "text": "so"}
    )
    assert attributes == [("size cm", "1, 2.5"), ("oak", "✓"), ("text", "so")]


def test_the_window_shows_products_from_all_over(shop: Shop) -> None:
    page = shop.client.get("/").text
    assert '<a class="tile" href="/p/demo/chair-1">' in page
    assert shop.parts.window.sample_products("demo", "de", 5, turn=7)[0].title == "Eichenstuhl"
    assert shop.parts.window.find_product("demo", "missing", "de") is None


def test_pages_are_compressed_and_the_api_is_not(shop: Shop) -> None:
    asked = {"Accept-Encoding": "gzip"}
    page = shop.client.get("/", headers=asked)
    assert page.headers["Content-Encoding"] == "gzip"
    assert b"Find it by photo" in gzip.decompress(page.data)
    assert "Content-Encoding" not in shop.client.get("/").headers
    assert "Content-Encoding" not in shop.client.get("/openapi.json", headers=asked).headers


def test_files_have_their_version_in_the_address(shop: Shop, tmp_path: Path) -> None:
    script = re.search(r'src="(/static/[0-9a-f]{12}/shop/search.js)"', shop.client.get("/").text)
    assert script is not None
    answer = shop.client.get(script[1], headers={"Accept-Encoding": "gzip"}, buffered=True)
    assert "max-age=31536000" in answer.headers["Cache-Control"]
    tag = answer.headers["ETag"]
    assert tag.startswith("W/")
    same = shop.client.get(script[1], headers={"If-None-Match": tag}, buffered=True)
    assert same.status_code == 304
    (tmp_path / "a.css").write_text("a")
    before = hash_folder(tmp_path)
    hash_folder.cache_clear()
    (tmp_path / "a.css").write_text("b")
    assert hash_folder(tmp_path) != before


def test_the_worker_keeps_files_of_the_page_alone(shop: Shop) -> None:
    script = shop.client.get("/sw.js")
    assert "connect-src 'self'" in script.headers["Content-Security-Policy"]
    kept = re.search(r"const FILES = (\[.*\]);", script.text)
    assert kept is not None
    paths = re.findall(r'"([^"]+)"', kept[1])
    assert len(paths) > 10
    for path in (*paths, "/offline"):
        assert shop.client.get(path, buffered=True).status_code == 200, path
        assert path == "/offline" or path.startswith("/static/")


def test_shared_links_have_a_preview(shop: Shop, found: str) -> None:
    result = shop.client.get(f"/s/{found}").text
    assert '<meta name="robots" content="noindex">' in result
    assert f'<meta property="og:url" content="http://localhost/s/{found}">' in result
    assert f'<meta property="og:image" content="http://localhost/v1/images/{IMAGE_ID}?size=1280">' in result
    assert f"/v1/searches/{found}/image" not in result.split("</head>")[0], "the photo is no preview"
    sheet = shop.client.get("/p/demo/chair-1").text
    data = json.loads(sheet.split('<script type="application/ld+json">')[1].split("</script>")[0])
    assert (data["@type"], data["name"], data["productID"]) == ("Product", "Oak chair", "chair-1")
    assert data["image"] == [f"http://localhost/v1/images/{IMAGE_ID}?size=1280"]


def test_a_result_is_waited_for_within_one_request(shop: Shop) -> None:
    sent = shop.client.post("/s", data={"product_id": "chair-1", "catalogue": "demo"}, headers=PAGE)
    part = f"{sent.headers['Location']}/part"
    worker = threading.Timer(0.3, shop.answer_all)
    worker.start()
    held = shop.client.get(part, headers={"Prefer": "wait=10"})
    worker.join()
    assert held.status_code == 200
    assert "Similar to Oak chair" in held.text


def test_unknown_addresses_are_explained_without_terms_of_the_api(shop: Shop) -> None:
    search = shop.client.get("/s/00000000-0000-4000-8000-000000000000", headers=PAGE)
    assert search.status_code == 404
    assert "This search does not exist or has expired." in search.text
    assert "task" not in search.text.split("<main")[1].split("</main>")[0]


def test_the_address_of_a_picture_is_taken_where_that_is_allowed(shop: Shop, tmp_path: Path) -> None:
    assert 'name="image_url"' not in shop.client.get("/").text
    form = {"image_url": "https://pictures.example/a.jpg", "catalogue": "demo"}
    refused = shop.client.post("/s", data=form, headers=PAGE)
    assert refused.status_code == 422
    assert "Upload the picture." in refused.text
    allowed = open_shop(tmp_path, web={"url_import": True})
    assert 'name="image_url"' in allowed.client.get("/").text
