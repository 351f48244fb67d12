"""The widget in the example shop: a page of another origin, a strict policy, and a publishable key alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import expect

from cli.services.sockets import find_free_ports
from demo.shop.serve import build_server
from tests.browser import DESKTOP, PHONE, Browser, Window
from tests.key_builders import OWNER_KEY, make_key
from tests.prefix_proxy import serving_below
from tests.showroom import Showroom, things

pytestmark = [pytest.mark.services, pytest.mark.browser]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    goods = [replace(each, url=None) for each in things(40)]
    settings = {"api_key": OWNER_KEY, "proxies": 1}
    with Showroom(tmp_path_factory.mktemp("widget"), goods, web=settings) as room:
        yield room


@contextmanager
def open_shop(
    room: Showroom, language: str = "en", key: str | None = None, server: str | None = None
) -> Iterator[str]:
    """Serve the example shop's pages; yield their origin. Without ``key``, one is made for the origin."""
    (port,) = find_free_ports(1)
    origin = f"http://127.0.0.1:{port}"
    made = key or make_key(room.shop, origins=[origin]).key
    shop = build_server(server or room.url, made, port, language)
    thread = threading.Thread(target=shop.serve_forever, daemon=True)
    thread.start()
    yield origin
    shop.shutdown()
    thread.join()
    shop.server_close()


def search(window: Window, origin: str, photo: Path) -> None:
    window.page.goto(origin)
    window.page.locator("vitrine-search button.open").click()
    window.page.locator("dialog input[type=file]").last.set_input_files(photo)


def open_window(chromium: Browser, size: str, colours: Literal["light", "dark"] = "light") -> Window:
    return chromium.open(PHONE if size == "phone" else DESKTOP, colours=colours)


@pytest.mark.parametrize(
    ("size", "language", "colours", "direction"),
    [("phone", "ar", "light", "rtl"), ("desktop", "de", "dark", "ltr")],
)
def test_a_photo_leads_to_a_product(
    room: Showroom,
    chromium: Browser,
    photo: Path,
    size: str,
    language: str,
    colours: Literal["light", "dark"],
    direction: str,
) -> None:
    window = open_window(chromium, size, colours)
    page = window.page
    with open_shop(room, language) as origin:
        page.goto(origin)
        page.locator("vitrine-search button.open").click()
        assert window.faults() == []
        page.locator("dialog input[type=file]").last.set_input_files(photo)
        page.locator("dialog .hit").first.wait_for()
        dialog = page.locator("vitrine-search dialog")
        assert (dialog.get_attribute("lang"), dialog.get_attribute("dir")) == (language, direction)
        assert page.locator("dialog button.frame").count() == 2
        image = page.locator("dialog .hit img").first
        assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
        assert window.faults() == []
        assert window.fits()
        page.locator("dialog .hit").first.click()
        page.wait_for_url(f"{origin}/product.html?id=*")
        page.locator("vitrine-similar .hit").first.wait_for()
        assert window.faults() == []
        # Neither the policy of the page nor that of the server refused anything.
        assert window.complaints() == []
    window.close()


def test_frames_filters_pages_and_keys(room: Showroom, chromium: Browser, photo: Path) -> None:
    window = open_window(chromium, "desktop")
    page = window.page
    with open_shop(room) as origin:
        search(window, origin, photo)
        hits = page.locator("dialog .hit")
        hits.first.wait_for()
        first = hits.first.locator(".title").inner_text()
        page.locator("dialog .frame").nth(1).click()
        expect(hits.first.locator(".title")).not_to_have_text(first)
        assert page.locator("dialog .frame").nth(1).get_attribute("aria-pressed") == "true"

        before = hits.count()
        page.get_by_role("button", name="Show more").click()
        expect(hits).not_to_have_count(before)
        assert hits.count() > before

        page.locator("dialog input[name=max]").fill("5")
        page.get_by_role("button", name="Apply").click()
        expect(hits).to_have_count(4)
        page.locator("dialog input[name=max]").fill("0.10")
        page.get_by_role("button", name="Apply").click()
        page.get_by_text("No matches with these filters.").first.wait_for()
        page.locator("dialog input[name=max]").fill("")
        page.get_by_role("button", name="Apply").click()
        hits.first.wait_for()

        area = page.locator("dialog .photo").bounding_box()
        assert area is not None
        page.mouse.move(area["x"] + 12, area["y"] + 12)
        page.mouse.down()
        page.mouse.move(area["x"] + 90, area["y"] + 90, steps=4)
        page.mouse.up()
        page.locator("dialog .frame.own").wait_for()

        page.keyboard.press("Escape")
        assert page.locator("dialog").get_attribute("open") is None
        focused = page.evaluate("document.activeElement.shadowRoot.activeElement.className")
        assert focused == "open"
        assert window.complaints() == []
    window.close()


def test_below_a_path_of_another_host(room: Showroom, chromium: Browser, photo: Path) -> None:
    window = open_window(chromium, "phone")
    with serving_below("/suche", room.url) as server, open_shop(room, server=server) as origin:
        search(window, origin, photo)
        image = window.page.locator("dialog .hit img").first
        assert image.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
        assert window.complaints() == []
    window.close()


@pytest.mark.parametrize("trouble", ["wrong key", "foreign origin", "offline", "no picture"])
def test_trouble_has_a_sentence_and_advice(
    room: Showroom, chromium: Browser, photo: Path, tmp_path: Path, trouble: str
) -> None:
    window = open_window(chromium, "phone")
    advice: list[str] = []
    window.page.on("console", lambda message: advice.append(message.text))
    key = {
        "wrong key": "vt_aaaaaaaa_" + "b" * 40,
        "foreign origin": make_key(room.shop, origins=["https://other.example"]).key,
    }.get(trouble)
    text = tmp_path / "a.jpg"
    text.write_text("no picture at all")
    with open_shop(room, key=key) as origin:
        window.page.goto(origin)
        window.page.locator("vitrine-search button.open").click()
        window.context.set_offline(trouble == "offline")
        chosen = text if trouble == "no picture" else photo
        window.page.locator("dialog input[type=file]").last.set_input_files(chosen)
        sentence = window.page.locator("dialog [role=alert]")
        sentence.wait_for()
        assert len(sentence.inner_text()) > 20
        assert "vt_" not in sentence.inner_text()
        assert any("[vitrine]" in each for each in advice), advice
        if trouble == "no picture":
            assert "photo" in sentence.inner_text()
        window.context.set_offline(False)
    window.close()
