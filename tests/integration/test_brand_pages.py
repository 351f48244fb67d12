"""The shop's name, logo, colour and links on the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.web_builders import Shop, open_shop

PAGE = {"Accept": "text/html"}
NAME = "Müller & Co"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("brand")
    logo = folder / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    brand = {
        "name": NAME,
        "logo": logo,
        "accent": "#ffee00",
        "home": "https://shop.example/",
        "imprint": "https://shop.example/imprint",
        "privacy": "https://shop.example/privacy",
        "footer": "Furniture <since> 1950",
        "catalogue": "second",
    }
    shop = open_shop(folder, brand=brand)
    shop.parts.catalogue.create("second")
    return shop


@pytest.mark.parametrize("address", ["/", "/p/demo/chair-1", "/p/demo/none", "/offline"])
def test_pages_of_shoppers_have_the_brand_alone(shop: Shop, address: str) -> None:
    page = shop.client.get(address, headers=PAGE).text
    assert "Müller &amp; Co" in page.partition("<title>")[2].partition("</title>")[0]
    assert 'class="brand" href="https://shop.example/"' in page
    assert "Vitrine" not in re.sub(r"data-\w+|vitrine\.css", "", page)
    assert "/manage" not in page
    assert "/docs" not in page
    if address != "/offline":
        assert "Furniture &lt;since&gt; 1950" in page
        assert 'href="https://shop.example/imprint"' in page
        assert 'href="https://shop.example/privacy"' in page


def test_pages_of_owners_keep_their_links(shop: Shop) -> None:
    page = shop.client.get("/docs", headers=PAGE).text
    assert 'href="/manage"' in page
    assert 'href="/docs"' in page


def test_the_logo_runs_no_scripts_and_is_cached(shop: Shop) -> None:
    (address,) = re.findall(r'class="brand-logo" src="([^"]+)"', shop.client.get("/", headers=PAGE).text)
    answer = shop.client.get(address)
    assert answer.mimetype == "image/svg+xml"
    assert b"<svg" in answer.data
    assert "immutable" in answer.headers["Cache-Control"]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script-src" not in policy
    assert shop.client.get("/brand/000000000000/logo").status_code == 404


def test_the_colour_has_a_stylesheet_of_its_own(shop: Shop) -> None:
    page = shop.client.get("/", headers=PAGE).text
    (address,) = re.findall(r'href="(/brand/[^"]+\.css)"', page)
    assert "#ffee00" not in page
    assert "style=" not in page
    answer = shop.client.get(address)
    assert answer.mimetype == "text/css"
    assert "--accent: #ffee00" in answer.text
    assert "immutable" in answer.headers["Cache-Control"]
    assert shop.client.get("/brand/000000000000/brand.css").status_code == 404


def test_the_installed_app_has_the_name(shop: Shop) -> None:
    manifest = shop.client.get("/manifest.webmanifest").json
    assert manifest["name"] == manifest["short_name"] == NAME
    assert "/brand/" in shop.client.get("/sw.js").text
    assert 'og:site_name" content="Müller &amp; Co"' in shop.client.get("/p/demo/chair-1", headers=PAGE).text


def test_the_start_page_searches_the_brand_catalogue(shop: Shop, tmp_path: Path) -> None:
    assert "<option selected>second</option>" in shop.client.get("/", headers=PAGE).text
    assert "<option selected>demo</option>" in shop.client.get("/?catalogue=demo", headers=PAGE).text
    other = open_shop(tmp_path, brand={"catalogue": "missing"})
    page = other.client.get("/", headers=PAGE).text
    assert "<option selected>demo</option>" in page
    assert "/brand/" not in page
    assert "<span>Vitrine</span>" in page
