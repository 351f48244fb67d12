"""Every state of the shopper's pages: open to everybody, in both colours and directions, light and still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Request

from tests.browser import PHONE, SIZES, Browser, Window
from tests.showroom import Showroom, things

pytestmark = pytest.mark.browser

#: What a first visit may weigh on its way, pictures included.
FIRST_VIEW_BYTES = 150_000
#: Layout shift up to which a page counts as still (Core Web Vitals).
STILL = 0.1
_WATCH_SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    with Showroom(tmp_path_factory.mktemp("states"), things()) as opened:
        yield opened


def judge(window: Window, state: str) -> None:
    assert window.faults() == [], state
    assert window.fits(), state
    assert window.complaints() == [], state


@pytest.mark.parametrize(
    ("size", "colours", "language"),
    [
        ("phone", "light", "en-IE"),
        ("phone", "dark", "ar"),
        ("desktop", "light", "ar"),
        ("desktop", "dark", "de-DE"),
    ],
)
def test_nobody_is_kept_out_of_any_state(
    room: Showroom,
    chromium: Browser,
    photo: Path,
    size: str,
    colours: Literal["light", "dark"],
    language: str,
) -> None:
    window = chromium.open(SIZES[size], colours=colours, language=language)
    page = window.page
    page.goto(room.url)
    window.wait_state("empty")
    assert page.evaluate("document.documentElement.dir") == ("rtl" if language == "ar" else "ltr")
    judge(window, "empty")
    room.holding.set()
    try:
        page.set_input_files("#image", photo)
        page.wait_for_function(
            "() => location.pathname === '/' && document.querySelector('progress:indeterminate')"
        )
        judge(window, "busy")
    finally:
        room.holding.clear()
    window.wait_state("done")
    page.locator(".adjust summary").click()
    page.locator(".filters summary >> visible=true").click()
    judge(window, "done")
    root = page.url
    page.locator("[name=price_min] >> visible=true").fill("900")
    page.locator("[name=price_min] >> visible=true").press("Enter")
    page.wait_for_selector(".nothing >> visible=true")
    judge(window, "nothing")
    page.goto(f"{root}/none")
    window.complaints()  # the browser says 404 too
    judge(window, "error")
    page.goto(f"{room.url}/p/demo/thing-1")
    page.wait_for_selector("#similar-hits .hit-title")
    judge(window, "sheet")
    page.goto(f"{room.url}/offline")
    judge(window, "offline")
    window.close()


def test_the_keyboard_alone_leads_through(room: Showroom, chromium: Browser, photo: Path) -> None:
    window = chromium.open(SIZES["desktop"], language="en-IE")
    page = window.page
    page.goto(room.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    with page.expect_file_chooser() as chooser:
        while page.evaluate("document.activeElement.id") != "image":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    window.wait_state("done")
    seen = set()
    while True:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # past the last one
        seen.add(page.evaluate("document.activeElement.getAttribute('class')"))
        outlined = page.evaluate(
            """() => getComputedStyle(document.activeElement).outlineStyle !== 'none'
                     || document.activeElement.closest('svg, .chip') !== null"""
        )
        assert outlined, page.evaluate("document.activeElement.outerHTML.slice(0, 120)")
    assert {"box", "handle", "tab", "hit-link"} <= seen
    window.close()


@pytest.mark.parametrize("path", ["/", "/p/demo/thing-1"])
def test_a_first_view_is_light(room: Showroom, chromium: Browser, path: str) -> None:
    window = chromium.open(PHONE, language="en-IE")
    requests: list[Request] = []
    window.page.on("requestfinished", lambda request: requests.append(request))
    window.page.goto(f"{room.url}{path}", wait_until="networkidle")
    weights = {
        r.url: sum(r.sizes()[part] for part in ("responseBodySize", "responseHeadersSize")) for r in requests
    }
    assert len(weights) > 10
    assert sum(weights.values()) < FIRST_VIEW_BYTES, weights
    assert all(url.startswith(room.url) for url in weights)
    packed = requests[0].response()
    assert packed is not None
    assert packed.headers["content-encoding"] == "gzip"
    window.close()


def test_nothing_jumps_from_the_first_view_to_the_result(
    room: Showroom, chromium: Browser, photo: Path
) -> None:
    window = chromium.open(PHONE, language="en-IE")
    window.context.add_init_script(_WATCH_SHIFTS)
    window.page.goto(room.url, wait_until="networkidle")
    room.holding.set()
    window.page.set_input_files("#image", photo)
    window.page.wait_for_selector("#preview >> visible=true")
    room.holding.clear()
    window.wait_state("done")
    window.page.wait_for_load_state("networkidle")
    assert window.page.evaluate("window.shifts") < STILL
    window.close()
