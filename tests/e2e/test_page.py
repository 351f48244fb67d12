"""The page in a real browser, on all of Vitrine's real processes."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_selenium_python import Axe
from PIL import Image as Picture
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests import builders
from tests.servers import PATIENCE_S, wait_for
from tests.services_milvus import EmbeddedMilvus
from tests.stack import Stack

pytestmark = [pytest.mark.services, pytest.mark.browser]

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


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


def open_browser(size: dict[str, int], language: str = "en-US", script: bool = True) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.add_experimental_option(
        "prefs",
        {
            "intl.accept_languages": language,
            "profile.managed_default_content_settings.javascript": 1 if script else 2,
        },
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    metrics = {**size, "deviceScaleFactor": 1, "mobile": size["width"] < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return browser


@pytest.fixture(scope="module", params=["phone", "desktop"])
def browser(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    driver = open_browser(PHONE if request.param == "phone" else DESKTOP)
    yield driver
    driver.quit()


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


def send(browser: webdriver.Chrome, url: str, photo: Path) -> None:
    browser.get(url)
    browser.find_element(By.ID, "image").send_keys(str(photo))


def state(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").get_attribute("data-state") or ""


def wait_state(browser: webdriver.Chrome, wanted: str) -> None:
    WebDriverWait(browser, PATIENCE_S).until(lambda b: state(b) == wanted)


def seen(browser: webdriver.Chrome, selector: str) -> list[WebElement]:
    return [each for each in browser.find_elements(By.CSS_SELECTOR, selector) if each.is_displayed()]


def fit(browser: webdriver.Chrome) -> bool:
    """Whether nothing sticks out sideways."""
    return bool(browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"))


def faults(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """What axe finds that keeps somebody out."""
    axe = Axe(browser)
    axe.inject()
    found = axe.run()["violations"]
    return [each for each in found if each["impact"] in ("serious", "critical")]


def complaints(browser: webdriver.Chrome) -> list[str]:
    """Script errors, refused resources, breaches of the content policy, since the last look."""
    return [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]


def test_a_photo_is_turned_into_products_under_an_address(
    shop: Stack, browser: webdriver.Chrome, photo: Path
) -> None:
    complaints(browser)
    browser.get(shop.url)
    assert state(browser) == "empty"
    assert fit(browser)
    assert faults(browser) == []
    assert "Prices in the demo are invented." in browser.find_element(By.TAG_NAME, "main").text

    send(browser, shop.url, photo)
    wait_state(browser, "done")
    address = browser.current_url
    assert address.startswith(f"{shop.url}/s/")
    titles = [each.text for each in seen(browser, ".hit-title")]
    assert titles[0] == "Thing 5"
    assert seen(browser, ".price")[0].text == "€6.50"
    assert fit(browser)
    assert faults(browser) == []
    loaded = (
        "return [...document.querySelectorAll('.hit img')].filter(i => i.complete && i.naturalWidth).length"
    )
    wait_for("pictures are shown", lambda: browser.execute_script(loaded) > 0)

    # The browser made it small and upright before it travelled.
    stored = httpx.get(f"{shop.url}/v1/searches/{address.rsplit('/', 1)[1]}/image")
    with Picture.open(io.BytesIO(stored.content)) as kept:
        assert kept.width > kept.height
        assert max(kept.size) <= 1280
    assert complaints(browser) == []

    browser.get(address)
    assert [each.text for each in seen(browser, ".hit-title")] == titles
    browser.back()
    browser.get(shop.url)
    assert state(browser) == "empty"


def test_titles_are_data_never_markup(shop: Stack, browser: webdriver.Chrome, photo: Path) -> None:
    complaints(browser)
    send(browser, shop.url, photo)
    wait_state(browser, "done")
    assert "<img src=x" in browser.find_element(By.ID, "result").text
    assert "hacked" not in browser.title
    assert complaints(browser) == []


def test_what_is_no_photo_is_explained(shop: Stack, browser: webdriver.Chrome, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(builders.jpeg(seed=1, width=300, height=200)[:700])
    send(browser, shop.url, broken)
    wait_state(browser, "error")
    trouble = browser.find_element(By.ID, "trouble")
    assert trouble.is_displayed()
    assert len(trouble.find_element(By.ID, "trouble-text").text) > 20
    assert fit(browser)
    assert faults(browser) == []
    trouble.find_element(By.LINK_TEXT, "Try another photo").click()
    wait_state(browser, "empty")


def test_an_unknown_address_has_a_friendly_page(shop: Stack, browser: webdriver.Chrome) -> None:
    browser.get(f"{shop.url}/s/00000000-0000-0000-0000-000000000000")
    assert "There is nothing here" in browser.find_element(By.TAG_NAME, "main").text
    assert fit(browser)
    assert faults(browser) == []


def test_the_documentation_is_readable(shop: Stack, browser: webdriver.Chrome) -> None:
    complaints(browser)
    browser.get(f"{shop.url}/docs")
    assert "/v1/searches" in browser.find_element(By.TAG_NAME, "main").text
    assert fit(browser)
    assert faults(browser) == []
    assert complaints(browser) == []


def test_in_german_the_titles_and_prices_are_german(shop: Stack, photo: Path) -> None:
    browser = open_browser(PHONE, language="de-DE")
    try:
        send(browser, shop.url, photo)
        wait_state(browser, "done")
        assert seen(browser, ".hit-title")[0].text == "Ding 5"
        assert seen(browser, ".price")[0].text.replace("\xa0", " ") == "6,50 €"
    finally:
        browser.quit()


def test_without_scripts_the_form_still_searches(shop: Stack, photo: Path) -> None:
    browser = open_browser(DESKTOP, script=False)
    try:
        send(browser, shop.url, photo)
        browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        WebDriverWait(browser, PATIENCE_S).until(lambda b: seen(b, ".hit-title"))
        assert browser.current_url.startswith(f"{shop.url}/s/")
        assert seen(browser, ".hit-title")[0].text == "Thing 5"
    finally:
        browser.quit()


def test_a_locked_shop_asks_for_its_key(
    shop: Stack, tmp_path_factory: pytest.TempPathFactory, photo: Path
) -> None:
    """The same database behind a second web process that wants a key."""
    locked = Stack(tmp_path_factory.mktemp("locked"), "http://127.0.0.1:1", "page")
    locked.env |= {
        "VITRINE_DATA_DIR": shop.env["VITRINE_DATA_DIR"],
        "VITRINE_REDIS__URL": shop.env["VITRINE_REDIS__URL"],
        "VITRINE_WEB__API_KEY": "open-sesame-please",
    }
    browser = open_browser(PHONE)
    try:
        locked.start_one("web")
        wait_for("the locked web answers", locked._web_answers)
        browser.get(locked.url)
        unlock = browser.find_element(By.ID, "unlock")
        WebDriverWait(browser, PATIENCE_S).until(lambda _: unlock.is_displayed())
        assert faults(browser) == []
        for key in ("wrong-key", "open-sesame-please"):
            browser.find_element(By.ID, "key").send_keys(key)
            unlock.find_element(By.TAG_NAME, "button").click()
            if key == "wrong-key":
                wait_for("it says so", lambda: "not accepted" in unlock.text)
        wait_state(browser, "empty")
        browser.find_element(By.ID, "image").send_keys(str(photo))
        wait_state(browser, "done")
        assert seen(browser, ".hit-title")[0].text == "Thing 5"
        loaded = "return document.querySelector('.hit img').naturalWidth"
        wait_for("pictures are unlocked", lambda: browser.execute_script(loaded))
        assert "open-sesame" not in browser.current_url
        assert "open-sesame" not in locked.log("web")
    finally:
        browser.quit()
        locked.stop()
