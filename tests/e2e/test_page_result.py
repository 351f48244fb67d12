"""What a shopper does with a result: objects, the frame, wishes, order, more, the product sheet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import DESKTOP, PHONE, Browser, Window
from tests.showroom import Showroom, things
from web.storefront.groups import PAGE_CARDS, TOP_K

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    with Showroom(tmp_path_factory.mktemp("result"), things()) as opened:
        yield opened


@pytest.fixture
def window(chromium: Browser) -> Iterator[Window]:
    opened = chromium.open(DESKTOP, language="en-IE")
    yield opened
    opened.close()


def search(window: Window, room: Showroom, photo: Path) -> str:
    """Search with the photo; return the address of the result."""
    window.page.goto(room.url)
    window.page.set_input_files("#image", photo)
    window.wait_state("done")
    return window.page.url


def wait_titles(window: Window, first: str) -> list[str]:
    """Wait until this title is the first that is seen; return all."""
    window.page.wait_for_function(
        """first => [...document.querySelectorAll('.group:not([hidden]) .hit-title')][0]?.innerText === first
           && !document.querySelector('[aria-busy]')""",
        arg=first,
    )
    return window.texts(".hit-title")


def uploads(window: Window) -> list[str]:
    """The addresses to which the page sends photos, as they come."""
    sent: list[str] = []
    window.page.on(
        "request",
        lambda r: sent.append(r.url) if r.url.endswith("/v1/searches") and r.method == "POST" else None,
    )
    return sent


def box_of(room: Showroom, window: Window) -> tuple[float, ...]:
    """The box with which the search in the address was asked."""
    search_id = window.page.url.split("/s/")[1].split("?")[0]
    box = room.shop.parts.searches.load_earlier(search_id).options.box
    assert box is not None
    return box


def test_an_object_is_tapped(room: Showroom, window: Window, photo: Path) -> None:
    search(window, room, photo)
    assert window.texts(".tab") == ["Object 1", "Object 2", "Whole photo"]
    assert window.texts(".hit-title")[0] == "Thing 0"
    window.page.locator("a.box").filter(has_text="2").click()
    assert wait_titles(window, "Thing 3")
    assert window.page.locator(".tab[aria-current]").inner_text() == "Object 2"
    window.page.reload()
    assert wait_titles(window, "Thing 3")  # the address leads to the object


def test_the_frame_is_drawn_by_pointer_keys_and_buttons(room: Showroom, window: Window, photo: Path) -> None:
    root = search(window, room, photo)
    sent = uploads(window)
    image = window.page.locator(".photo svg").bounding_box()
    assert image is not None
    before = window.page.evaluate("document.querySelector('.photo svg image').isConnected")

    corner = window.page.get_by_role("slider", name="Corner of the frame, bottom right")
    place = corner.locator(".handle-dot").bounding_box()
    assert place is not None
    window.page.mouse.move(place["x"] + 8, place["y"] + 8)
    window.page.mouse.down()
    window.page.mouse.move(image["x"] + image["width"] * 0.7, image["y"] + image["height"] * 0.9, steps=4)
    window.page.mouse.up()
    window.page.wait_for_url("**/s/*?of=*")
    window.page.wait_for_selector("text=Your frame")
    assert box_of(room, window) == pytest.approx((0.1, 0.3, 0.7, 0.9), abs=0.02)
    assert before
    assert root.rsplit("/", 1)[1] in window.page.url

    drawn = window.page.url
    corner.focus()
    window.page.keyboard.press("Shift+ArrowLeft")
    window.page.wait_for_function("before => location.href !== before", arg=drawn)
    assert box_of(room, window) == pytest.approx((0.1, 0.3, 0.6, 0.9), abs=0.02)
    assert window.page.evaluate("document.activeElement.getAttribute('role')") == "slider"

    typed = window.page.url
    window.page.locator(".adjust summary").click()
    window.page.get_by_role("button", name="Move right").click()
    window.page.wait_for_function("before => location.href !== before", arg=typed)
    assert box_of(room, window) == pytest.approx((0.14, 0.3, 0.64, 0.9), abs=0.02)

    pressed = window.page.url
    window.page.mouse.click(image["x"] + image["width"] * 0.5, image["y"] + image["height"] * 0.95)
    window.page.wait_for_function("before => location.href !== before", arg=pressed)
    assert box_of(room, window) == pytest.approx((0.3, 0.6, 0.7, 1.0), abs=0.02)

    assert sent == []
    assert window.complaints() == []
    window.page.get_by_role("link", name="Object 2", exact=True).click()
    assert wait_titles(window, "Thing 3")
    window.page.go_back()
    window.page.wait_for_selector(".tab[data-group=frame]")


def test_wishes_narrow_the_answer_down(room: Showroom, window: Window, photo: Path) -> None:
    search(window, room, photo)
    sent = uploads(window)
    window.page.locator(".filters summary >> visible=true").click()
    window.page.get_by_role("radio", name="Chairs 6").check(force=True)
    assert wait_titles(window, "Thing 0")[:3] == ["Thing 0", "Thing 3", "Thing 6"]
    assert window.texts(".hit-category") == ["Chairs"] * len(window.texts(".hit-category"))
    assert window.page.get_by_role("radio", name="Lamps 10").count() == 1  # the way back stays
    assert window.page.evaluate("document.activeElement.value") == "Chairs", "the filters stay open"

    window.page.get_by_label("from", exact=True).fill("5")
    window.page.get_by_label("to", exact=True).fill("11,00")
    window.page.get_by_role("button", name="Show products").click()
    assert wait_titles(window, "Thing 6") == ["Thing 6", "Thing 9"]
    assert window.page.locator(".filters summary").inner_text().split() == ["Filter", "2"]
    assert window.page.locator("input[value=Chairs]").is_checked()

    window.page.get_by_role("combobox", name="Sort").select_option(label="Price: high to low")
    assert wait_titles(window, "Thing 9") == ["Thing 9", "Thing 6"]

    window.page.locator(".filters summary").click()
    window.page.get_by_label("from", exact=True).fill("cheap")
    window.page.get_by_role("button", name="Show products").click()
    window.page.wait_for_selector("#toast:not([hidden])")
    assert "number" in window.page.inner_text("#toast")
    assert window.texts(".hit-title") == ["Thing 9", "Thing 6"]  # what was there stays

    window.page.locator(".filters summary").click()
    window.page.get_by_label("from", exact=True).fill("900")
    window.page.get_by_label("to", exact=True).fill("")
    window.page.get_by_role("button", name="Show products").click()
    window.page.wait_for_selector(".nothing >> visible=true")
    window.page.locator(".nothing").get_by_role("link", name="Clear filters").click()
    assert len(wait_titles(window, "Thing 0")) > 5
    assert sent == []


@pytest.fixture
def long_room(tmp_path: Path) -> Iterator[Showroom]:
    with Showroom(tmp_path, things(60)) as opened:
        opened.page = 40
        yield opened


def test_more_comes_after_what_is_there_and_stays(long_room: Showroom, window: Window, photo: Path) -> None:
    page = window.page
    search(window, long_room, photo)
    first = window.texts(".hit-title")
    assert len(first) == PAGE_CARDS
    page.get_by_role("link", name="Show more").click()
    page.wait_for_function("() => document.querySelectorAll('.group:not([hidden]) .hit').length === 40")
    after = window.texts(".hit-title")
    assert after[: len(first)] == first
    assert len(set(after)) == len(after)
    assert page.evaluate("document.activeElement.innerText").startswith(after[len(first)])

    page.reload()
    assert window.texts(".hit-title") == after, "also for whoever gets the link"
    page.locator(".group:not([hidden]) .hit-link").nth(30).click()
    page.wait_for_url("**/p/demo/*")
    page.go_back()
    page.wait_for_selector(".hit-title")
    assert window.texts(".hit-title") == after

    result = page.url
    page.get_by_role("button", name="Next page").click()
    page.wait_for_function("before => location.href !== before", arg=result)
    page.wait_for_selector("text=More products")
    assert len(window.texts(".hit-title")) == TOP_K - 40
    assert not set(window.texts(".hit-title")) & set(after)
    page.go_back()
    page.wait_for_function("before => location.href === before", arg=result)
    page.wait_for_function("() => document.querySelectorAll('.group:not([hidden]) .hit').length === 40")
    assert window.complaints() == []


def test_products_that_are_not_similar_are_shown_on_demand(
    long_room: Showroom, window: Window, photo: Path
) -> None:
    long_room.fall = 10
    search(window, long_room, photo)
    assert len(window.texts(".hit-title")) == 11, "those of at least half of the first score"
    assert window.page.get_by_role("link", name="Show more").count() == 0
    assert "These are all similar products." in window.page.inner_text("#result")
    window.page.get_by_role("link", name="Show less similar ones").click()
    window.page.wait_for_function(
        "() => document.querySelectorAll('.group:not([hidden]) .hit').length === 40"
    )
    assert window.page.get_by_role("link", name="Show less similar ones").count() == 0


def test_a_frame_is_drawn_and_moved_as_a_whole(room: Showroom, window: Window, photo: Path) -> None:
    page = window.page
    root = search(window, room, photo)
    image = page.locator(".photo svg").bounding_box()
    assert image is not None

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        before = page.url
        for n, (x, y) in enumerate((start, end)):
            page.mouse.move(image["x"] + image["width"] * x, image["y"] + image["height"] * y, steps=5)
            (page.mouse.up if n else page.mouse.down)()
        page.wait_for_function("before => location.href !== before", arg=before)

    drag((0.6, 0.95), (0.98, 0.7))  # from a corner to any other, outside of the shown frame
    assert box_of(room, window) == pytest.approx((0.6, 0.7, 0.98, 0.95), abs=0.02)
    drag((0.8, 0.8), (0.5, 0.6))
    assert box_of(room, window) == pytest.approx((0.3, 0.5, 0.68, 0.75), abs=0.02)
    drag((0.5, 0.6), (0.9, 0.6))  # no further than to the edge
    assert box_of(room, window) == pytest.approx((0.62, 0.5, 1.0, 0.75), abs=0.02)
    # A drag that begins on another object draws too, and does not choose that object.
    drag((0.2, 0.4), (0.5, 0.7))
    assert box_of(room, window) == pytest.approx((0.2, 0.4, 0.5, 0.7), abs=0.02)
    assert page.locator(".tab[aria-current]").inner_text() == "Your frame"
    assert page.evaluate("getSelection().toString()") == ""
    assert root.rsplit("/", 1)[1] in page.url
    assert window.complaints() == []


def test_filters_are_of_the_chosen_object(room: Showroom, window: Window, photo: Path) -> None:
    page = window.page
    search(window, room, photo)
    page.locator("a.box").filter(has_text="2").click()
    assert wait_titles(window, "Thing 3")
    page.locator(".filters summary >> visible=true").click()
    before = page.url
    page.locator(".chip >> visible=true", has_text="Lamps").click()
    page.wait_for_function("before => location.href !== before", arg=before)
    assert box_of(room, window) == pytest.approx(room.boxes[1], abs=0.001)
    expect(page.locator(".tab[aria-current]")).to_have_text("Object 2")
    assert page.locator(".tab").all_inner_texts() == ["Object 1", "Object 2", "Whole photo"]
    page.keyboard.press("Escape")
    assert page.locator(".filters[open]").count() == 0
    page.get_by_role("link", name="Object 1", exact=True).click()
    assert wait_titles(window, "Thing 0")[:2] == ["Thing 0", "Thing 1"], "the others are as they were"


def test_prices_are_given_in_the_currency_that_is_shown(
    room: Showroom, chromium: Browser, photo: Path
) -> None:
    window = chromium.open(DESKTOP, language="en-GB")
    page = window.page
    search(window, room, photo)
    assert window.texts(".price")[0].startswith("≈")
    page.locator(".filters summary >> visible=true").click()
    assert page.locator(".prices legend >> visible=true").inner_text() == "Price in GBP"
    page.locator("[name=price_min] >> visible=true").fill("10")
    page.locator("[name=price_max] >> visible=true").fill("4")
    page.locator(".filter-foot button >> visible=true").click()
    page.wait_for_url("**/s/*?of=*")
    page.wait_for_function("() => !document.querySelector('[aria-busy]')")
    shown = [float(text.split("£")[1]) for text in window.texts(".price")]
    assert shown
    assert all(4 <= price <= 10.01 for price in shown), "the two prices were exchanged"
    assert page.locator("[name=price_min]").input_value() == "4"
    page.goto(f"{room.url}/p/demo/thing-1")
    assert page.locator("select[name=currency]").input_value() == "GBP", "as on the other pages"
    window.close()


def test_similar_products_and_the_product_sheet(room: Showroom, window: Window, photo: Path) -> None:
    search(window, room, photo)
    window.page.get_by_role("button", name="Products similar to Thing 1", exact=True).first.click()
    window.page.wait_for_selector("text=Similar products")
    titles = wait_titles(window, "Thing 0")
    assert "Thing 1" not in titles
    window.page.get_by_role("link", name="Thing 2", exact=False).first.click()
    window.page.wait_for_url("**/p/demo/thing-*")
    window.page.goto(f"{room.url}/p/demo/thing-1")
    window.page.wait_for_selector("#similar-hits .hit-title")
    sheet = window.page.inner_text("main")
    for part in ("Thing 1", "€2.50", "Lamps", "material", "oak", "40, 50, 60", "sale", "View in shop"):
        assert part in sheet
    assert window.page.locator(".slide img").count() == 2
    assert window.complaints() == []
    window.page.goto(f"{room.url}/p/demo/taken-out")
    assert "This product is no longer available" in window.page.inner_text("main")


def test_without_scripts_everything_but_the_frame(room: Showroom, chromium: Browser, photo: Path) -> None:
    window = chromium.open(PHONE, language="de-DE", scripts=False)
    page = window.page
    page.goto(room.url)
    page.set_input_files("#image", photo)
    page.click("#ask button[type=submit]")
    page.wait_for_selector(".hit-title")
    assert window.texts(".hit-title")[0] == "Ding 0"
    page.locator(".filters summary").first.click()
    page.locator(".chip", has_text="Stühle").first.click()
    page.locator(".filter-foot button").first.click()
    page.wait_for_url("**/s/*?of=*")
    page.wait_for_selector(".hit-title")
    assert set(window.texts(".hit-category")) == {"Stühle"}
    page.locator(".similar button").first.click()
    page.wait_for_function("() => !location.search.includes('of=')")
    page.wait_for_selector(".hit-title")
    page.locator("a.hit-link").first.click()
    page.wait_for_url("**/p/demo/*")
    assert page.locator("h1").inner_text().startswith("Ding")
    assert window.fits()
    window.close()


def test_a_grid_has_its_place_before_its_pictures(room: Showroom, window: Window, photo: Path) -> None:
    window.page.route("**/v1/images/**", lambda route: route.abort())
    address = search(window, room, photo)
    measure = (
        "[...document.querySelectorAll('.group:not([hidden]) .hit')].map(h => [h.offsetTop, h.offsetHeight])"
    )
    without = window.page.evaluate(measure)
    window.page.unroute("**/v1/images/**")
    window.page.goto(address)
    window.page.wait_for_function("() => document.querySelector('.hit img').naturalWidth > 0")
    assert window.page.evaluate(measure) == without
    assert len(without) == room.page


def test_what_is_opened_and_left_out_is_told_where_it_may_be(
    chromium: Browser, photo: Path, tmp_path: Path
) -> None:
    with Showroom(tmp_path, things(6), feedback={"enabled": True}) as room:
        window = chromium.open(PHONE, language="en-IE")
        search(window, room, photo)
        with window.page.expect_response("**/v1/feedback") as unwanted:
            window.page.get_by_role("button", name="Not what I want: Thing 1", exact=True).first.click()
        assert unwanted.value.status == 201
        assert "Thing 1" not in window.texts(".hit-title")
        assert window.page.evaluate("document.activeElement.className") == "hit-link"
        window.page.get_by_role("link", name="Thing 2").first.click()
        window.page.wait_for_url("**/p/demo/thing-2")
        told = room.shop.client.get("/v1/catalogues/demo/feedback").json
        assert [(said["kind"], said["product_id"]) for said in told] == [
            ("not_this", "thing-1"),
            ("click", "thing-2"),
        ]
        window.close()
