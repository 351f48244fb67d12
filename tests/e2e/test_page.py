"""The page in a real browser, on all of Vitrine's real processes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image as Picture

from tests import builders
from tests.browser import DESKTOP, SIZES, Browser, Window
from tests.services_milvus import EmbeddedMilvus
from tests.stack import Stack

pytestmark = [pytest.mark.services, pytest.mark.browser]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, milvus: EmbeddedMilvus) -> Iterator[Stack]:
    """A running Vitrine with the catalogue ``demo``: eight products, one with a title that is an attack."""
    stack = Stack(tmp_path_factory.mktemp("page"), milvus.uri, "page")
    try:
        stack.start()
        job = stack.wait_job(stack.import_folder("demo", packed()))
        assert job["counts"]["new"] == 8, job
        yield stack
    finally:
        stack.stop()


def packed() -> bytes:
    rows = ["product_id,title_en,title_de,category,price,currency,images"]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for n in range(8):
            title = "<img src=x onerror=document.title='hacked'>" if n == 3 else f"Thing {n}"
            rows.append(f"p{n},{title},Ding {n},Things,{n + 1}.5,EUR,p{n}.jpg")
            archive.writestr(f"p{n}.jpg", builders.jpeg(seed=n, width=200, height=160))
        archive.writestr("products.csv", "\n".join(rows))
    return file.getvalue()


@pytest.fixture(params=["phone", "desktop"])
def window(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Window]:
    opened = chromium.open(SIZES[request.param], language="en-IE")
    yield opened
    opened.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Product 5, as a phone takes it: large, lying on its side, with an EXIF note to turn it."""
    with Picture.open(io.BytesIO(builders.jpeg(seed=5, width=200, height=160))) as small:
        large = small.resize((2600, 2080)).transpose(Picture.Transpose.ROTATE_90)
    exif = Picture.Exif()
    exif[0x0112] = 6
    path = tmp_path / "IMG 5 – ünïcode.jpg"
    large.save(path, "JPEG", exif=exif, quality=95)
    return path


def send(window: Window, url: str, photo: Path) -> None:
    window.page.goto(url)
    window.page.set_input_files("#image", photo)


def test_a_photo_is_turned_into_products_under_an_address(shop: Stack, window: Window, photo: Path) -> None:
    window.page.goto(shop.url)
    window.wait_state("empty")
    assert window.fits()
    assert window.faults() == []
    assert "Demo prices are invented." in window.page.inner_text("main")

    send(window, shop.url, photo)
    window.wait_state("done")
    address = window.page.url
    assert address.startswith(f"{shop.url}/s/")
    titles = window.texts(".hit-title")
    assert titles[0] == "Thing 5"
    assert window.texts(".price")[0] == "€6.50"
    assert window.fits()
    assert window.faults() == []
    window.page.wait_for_function("() => document.querySelector('.hit img').naturalWidth > 0")

    # The browser made it small and upright before it travelled.
    stored = httpx.get(f"{shop.url}/v1/searches/{address.rsplit('/', 1)[1]}/image")
    with Picture.open(io.BytesIO(stored.content)) as kept:
        assert kept.width > kept.height
        assert max(kept.size) <= 1280
    assert window.complaints() == []

    window.page.goto(address)
    assert window.texts(".hit-title") == titles
    window.page.goto(shop.url)
    window.wait_state("empty")


def test_titles_are_data_never_markup(shop: Stack, window: Window, photo: Path) -> None:
    send(window, shop.url, photo)
    window.wait_state("done")
    assert "<img src=x" in window.page.inner_text("#result")
    assert "hacked" not in window.page.title()
    assert window.complaints() == []


def test_what_is_no_photo_is_explained(shop: Stack, window: Window, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(builders.jpeg(seed=1, width=300, height=200)[:700])
    send(window, shop.url, broken)
    window.wait_state("error")
    assert len(window.page.inner_text("#trouble-text")) > 20
    assert window.fits()
    assert window.faults() == []
    window.page.get_by_role("link", name="Try another photo").click()
    window.wait_state("empty")


def test_an_unknown_address_has_a_friendly_page(shop: Stack, window: Window) -> None:
    window.page.goto(f"{shop.url}/s/00000000-0000-0000-0000-000000000000")
    assert "Not found" in window.page.inner_text("main")
    assert window.fits()
    assert window.faults() == []


def test_the_documentation_is_readable(shop: Stack, window: Window) -> None:
    window.page.goto(f"{shop.url}/docs")
    assert "/v1/searches" in window.page.inner_text("main")
    assert window.fits()
    assert window.faults() == []
    assert window.complaints() == []


def test_in_german_the_titles_and_prices_are_german(shop: Stack, chromium: Browser, photo: Path) -> None:
    window = chromium.open(language="de-DE")
    send(window, shop.url, photo)
    window.wait_state("done")
    assert window.texts(".hit-title")[0] == "Ding 5"
    assert window.texts(".price")[0].replace("\xa0", " ") == "6,50 €"
    window.close()


def test_without_scripts_the_form_still_searches(shop: Stack, chromium: Browser, photo: Path) -> None:
    window = chromium.open(DESKTOP, scripts=False)
    send(window, shop.url, photo)
    window.page.click("#ask button[type=submit]")
    window.page.wait_for_selector(".hit-title")
    assert window.page.url.startswith(f"{shop.url}/s/")
    assert window.texts(".hit-title")[0] == "Thing 5"
    window.close()


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("language", ["en-IE", "ar-EG"])
def test_the_whole_way_in_both_directions(
    shop: Stack, chromium: Browser, photo: Path, size: str, language: str
) -> None:
    window = chromium.open(SIZES[size], language=language)
    page = window.page

    def judged() -> None:
        assert page.evaluate("document.documentElement.dir") == ("rtl" if language == "ar-EG" else "ltr")
        assert window.fits()
        assert window.faults() == []
        assert window.complaints() == []

    send(window, shop.url, photo)
    window.wait_state("done")
    judged()
    page.locator(".filters summary >> visible=true").click()
    # Half way between the lowest and the highest price, which is 5 euros, in the currency that is shown.
    hints = [page.locator(f"input[name=price_{end}] >> visible=true") for end in ("min", "max")]
    middle = sum(float(hint.get_attribute("placeholder") or "") for hint in hints) / 2
    hints[0].fill(f"{middle:.2f}")
    page.locator(".filter-foot button >> visible=true").click()
    page.wait_for_url("**/s/*?of=*")
    assert set(window.texts(".hit-title")) == {f"Thing {n}" for n in range(4, 8)}
    page.locator("select[name=sort] >> visible=true").select_option("cheapest")
    page.wait_for_selector(".group:not([hidden]) .hit:first-child .hit-title:text-is('Thing 4')")
    judged()
    asked = page.url
    page.locator(".similar button").first.click()
    page.wait_for_function("before => location.href !== before", arg=asked)
    window.wait_state("done")
    assert "Thing 4" not in window.texts(".hit-title")
    page.locator("a.hit-link").first.click()
    page.wait_for_url("**/p/demo/*")
    page.wait_for_selector("#similar-hits .hit-title")
    judged()
    page.goto(shop.url)
    page.wait_for_selector("#past li")
    judged()
    window.close()
