"""A shopper says which hits are more, and which less, what is meant; and wants likely matches only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.contracts import SearchOptions
from tests.browser import DESKTOP, SIZES, Browser, Window
from tests.showroom import Showroom, things

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    with Showroom(tmp_path_factory.mktemp("steering"), things()) as opened:
        opened.calibrated = True
        yield opened


def options_of(room: Showroom, window: Window) -> SearchOptions:
    """What the search in the address was asked with."""
    search_id = window.page.url.split("/s/")[1].split("?")[0]
    return room.shop.parts.searches.load_earlier(search_id).options


def wait_next(window: Window, before: str) -> None:
    window.page.wait_for_function(
        "before => location.href !== before && !document.querySelector('[aria-busy]')", arg=before
    )
    window.page.wait_for_selector(".hit-title")


@pytest.mark.parametrize(("size", "language"), [("phone", "en-IE"), ("desktop", "en-IE"), ("phone", "ar")])
def test_examples_steer_the_answer_without_an_upload(
    room: Showroom, chromium: Browser, photo: Path, size: str, language: str
) -> None:
    window = chromium.open(SIZES[size], language=language)
    page = window.page
    page.goto(room.url)
    page.set_input_files("#image", photo)
    window.wait_state("done")
    assert window.texts(".hit-category")[0] != window.texts(".hit-category")[1]
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.url.endswith("/v1/searches") else None)

    asked = page.url
    more = page.locator(".steer button[name=more] >> visible=true")
    more.nth(1).focus()
    page.keyboard.press("Enter")
    wait_next(window, asked)
    assert options_of(room, window).like == ("thing-1",)
    assert len(set(window.texts(".hit-category")[:4])) == 1, "the kind that is wanted comes first"
    assert page.evaluate("document.activeElement.id") == "groups"
    chips = page.locator(".example")
    assert chips.count() == 1
    assert window.faults() == []
    assert window.fits()

    asked = page.url
    page.locator(".hit", has=page.locator("[value=thing-3]")).locator("button[name=less]").first.click()
    wait_next(window, asked)
    assert options_of(room, window).unlike == ("thing-3",)
    assert options_of(room, window).like == ("thing-1",)
    assert chips.count() == 2
    assert window.faults() == []

    asked = page.url
    chips.first.click()
    wait_next(window, asked)
    assert options_of(room, window).like == ()
    assert chips.count() == 1
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.example').length === 2")
    assert sent == []
    assert window.complaints() == []
    window.close()


def test_a_screen_reader_hears_which_product_is_meant(room: Showroom, chromium: Browser, photo: Path) -> None:
    window = chromium.open(DESKTOP, language="en-IE")
    page = window.page
    page.goto(room.url)
    page.set_input_files("#image", photo)
    window.wait_state("done")
    asked = page.url
    page.get_by_role("button", name="Less like Thing 1", exact=True).first.click()
    wait_next(window, asked)
    examples = page.get_by_role("list", name="Your examples")
    examples.get_by_role("button", name="Less like Thing 1 Remove").click()
    page.wait_for_selector(".example", state="detached")
    window.close()


def test_only_likely_matches_where_it_is_known_what_is_likely(
    room: Showroom, chromium: Browser, photo: Path
) -> None:
    window = chromium.open(DESKTOP, language="en-IE")
    page = window.page
    page.goto(room.url)
    page.set_input_files("#image", photo)
    window.wait_state("done")
    page.locator(".filters summary >> visible=true").click()
    likely = page.locator("input[name=min_probability]").first
    asked = page.url
    likely.check(force=True)
    wait_next(window, asked)
    assert options_of(room, window).min_probability == 0.5
    assert window.texts(".hit-title") == ["Thing 0"]
    assert likely.is_checked()

    asked = page.url
    page.get_by_role("button", name="More like Thing 0", exact=True).first.click()
    wait_next(window, asked)
    assert options_of(room, window).min_probability is None, "of examples nothing is likely"
    assert likely.count() == 0
    asked = page.url
    page.locator(".example").click()
    wait_next(window, asked)
    assert likely.count() == 1
    room.calibrated = False
    try:
        page.goto(room.url)
        page.set_input_files("#image", photo)
        window.wait_state("done")
        assert likely.count() == 0
    finally:
        room.calibrated = True
    window.close()


def test_without_scripts_the_buttons_do_the_same(room: Showroom, chromium: Browser, photo: Path) -> None:
    window = chromium.open(DESKTOP, language="en-IE", scripts=False)
    page = window.page
    page.goto(room.url)
    page.set_input_files("#image", photo)
    page.click("#ask button[type=submit]")
    page.wait_for_selector(".hit-title")
    page.locator(".filters summary").first.click()
    page.locator(".chip", has_text="Lamps").first.click()
    page.locator(".filters summary").first.click()
    page.locator("button[name=more][value=thing-1]").first.click()
    page.wait_for_url("**/s/*?of=*")
    page.wait_for_selector(".example")
    assert options_of(room, window).like == ("thing-1",)
    assert options_of(room, window).category == "Lamps", "what is chosen goes along"
    assert window.fits()
    page.locator(".example").click()
    page.wait_for_selector(".example", state="detached")
    page.wait_for_selector(".hit-title")
    assert "Thing 1" in window.texts(".hit-title")
    window.close()
