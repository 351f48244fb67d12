"""The page on a device: every way in, weak networks, no network, installed, and what it keeps."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture
from sqlalchemy import func, select, update

from shared.database.tables import Search
from shared.images import probe
from tests import builders
from tests.browser import PHONE, Browser, Window
from tests.showroom import Showroom, things

pytestmark = pytest.mark.browser

#: A file in the page, as a drop, a paste or a form hands it over.
_FILE = """([name, type, text]) => {
  const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  return new File([bytes], name, { type });
}"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    with Showroom(tmp_path_factory.mktemp("device"), things(8), images={"max_bytes": 2_000_000}) as opened:
        yield opened


@pytest.fixture
def window(chromium: Browser) -> Iterator[Window]:
    opened = chromium.open(PHONE, language="en-IE")
    yield opened
    opened.close()


@pytest.fixture
def installed(chromium: Browser, room: Showroom) -> Iterator[Window]:
    """A window in which the service worker is at work."""
    opened = chromium.open(PHONE, language="en-IE", workers=True)
    opened.page.goto(room.url)
    opened.page.evaluate("navigator.serviceWorker.ready")
    opened.page.wait_for_function("() => navigator.serviceWorker.controller !== null")
    yield opened
    opened.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "room.jpg"
    path.write_bytes(builders.jpeg(seed=1, width=400, height=300))
    return path


def file(data: bytes, name: str = "photo.jpg", kind: str = "image/jpeg") -> list[str]:
    return [name, kind, base64.b64encode(data).decode()]


def drop(window: Window, *files: list[str]) -> None:
    """Drop these files on the page, as a file manager does."""
    window.page.evaluate(
        f"""(files) => {{
          const transfer = new DataTransfer();
          for (const each of files) transfer.items.add(({_FILE})(each));
          document.body.dispatchEvent(new DragEvent("drop", {{ dataTransfer: transfer, bubbles: true }}));
        }}""",
        list(files),
    )


def stored(room: Showroom, window: Window) -> Picture.Image:
    """The photo as the server has kept it."""
    search_id = window.page.url.split("/s/")[1].split("?")[0]
    data = room.shop.client.get(f"/v1/searches/{search_id}/image").data
    return Picture.open(io.BytesIO(data))


def searches(room: Showroom) -> int:
    with room.shop.parts.database.read() as session:
        return session.scalar(select(func.count()).select_from(Search)) or 0


def trouble(window: Window) -> str:
    window.wait_state("error")
    assert window.faults() == []
    return window.page.inner_text("#trouble")


def test_a_photo_is_dropped_or_pasted(room: Showroom, window: Window) -> None:
    window.page.goto(room.url)
    drop(window, file(builders.jpeg(seed=3, width=500, height=200)))
    window.wait_state("done")
    assert stored(room, window).size == (500, 200)
    window.page.evaluate(
        f"""(each) => {{
          const transfer = new DataTransfer();
          transfer.items.add(({_FILE})(each));
          document.dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: transfer }}));
        }}""",
        file(builders.jpeg(seed=4, width=200, height=500)),
    )
    window.page.wait_for_function("before => location.href !== before", arg=window.page.url)
    window.wait_state("done")
    assert stored(room, window).size == (200, 500)
    assert window.complaints() == []


def test_of_ten_pictures_one_is_picked(room: Showroom, window: Window) -> None:
    window.page.goto(room.url)
    drop(window, *[file(builders.jpeg(seed=n, width=100 + n, height=90), f"{n}.jpg") for n in range(10)])
    window.wait_state("pick")
    assert "at most five photos of one item" in window.page.inner_text("#pick")
    assert not window.page.locator("#pick-all").is_visible()
    assert window.page.locator(".picks button").count() == 10
    assert window.fits()
    assert window.faults() == []
    window.page.get_by_role("button", name="Search with this picture: 7.jpg").click()
    window.wait_state("done")
    assert stored(room, window).width == 107


def test_several_photos_of_one_thing_are_searched_together(room: Showroom, window: Window) -> None:
    sides = [(3000, 1500), (150, 100), (100, 160)]
    before = searches(room)
    window.page.goto(room.url)
    drop(
        window,
        *[
            file(builders.jpeg(seed=n, width=width, height=height), f"{n}.jpg")
            for n, (width, height) in enumerate(sides)
        ],
    )
    window.wait_state("pick")
    assert window.page.evaluate("document.activeElement.id") == "pick"
    assert window.fits()
    assert window.faults() == []
    window.page.get_by_role("button", name="Search with all").click()
    window.wait_state("done")
    assert searches(room) == before + 1
    asked = room.shop.parts.searches.load_earlier(window.page.url.rpartition("/")[2]).source
    sent = [asked.query_key, *asked.more_photos]
    kept = [room.shop.parts.store.get(key or "", "queries") for key in sent]
    assert [probe(each, room.shop.parts.photos.limits).width for each in kept] == [1280, 150, 100]
    assert "Photos searched together: 3." in window.page.inner_text(".side-note")

    # A frame is drawn in the photo that is seen: it is searched with that one alone.
    together = window.page.url
    window.page.locator(".adjust summary").click()
    window.page.get_by_role("button", name="Move right").click()
    window.page.wait_for_function("before => location.href !== before", arg=together)
    window.page.wait_for_selector(".tab[data-group=frame]")
    assert "together" not in window.page.inner_text(".side-note")
    framed = window.page.url.split("/s/")[1].split("?")[0]
    assert room.shop.parts.searches.load_earlier(framed).source.more_photos == ()
    assert window.complaints() == []


@pytest.mark.parametrize("count", [3, 6])
def test_without_scripts_several_photos_go_in_one_field(
    room: Showroom, chromium: Browser, tmp_path: Path, count: int
) -> None:
    plain = chromium.open(PHONE, language="en-IE", scripts=False)
    paths = [tmp_path / f"{n}.jpg" for n in range(count)]
    for n, path in enumerate(paths):
        path.write_bytes(builders.jpeg(seed=n, width=120, height=90))
    plain.page.goto(room.url)
    plain.page.set_input_files("#image", paths)
    plain.page.click("#ask button[type=submit]")
    if count == 3:
        plain.page.wait_for_selector(".hit-title")
        assert "Photos searched together: 3." in plain.page.inner_text(".side-note")
    else:
        assert "Send 1 to 5 pictures" in plain.page.inner_text("main")
    assert plain.fits()
    plain.close()


def test_a_large_photo_is_small_before_it_travels(room: Showroom, window: Window, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(builders.encoded(builders.picture(1, 4000, 2000, blocks=500)))
    assert path.stat().st_size > room.shop.settings.images.max_bytes
    window.page.goto(room.url)
    with window.page.expect_request_finished(lambda r: r.url.endswith("/v1/searches")) as upload:
        window.page.set_input_files("#image", path)
    assert upload.value.sizes()["requestBodySize"] < path.stat().st_size / 2
    window.wait_state("done")
    assert stored(room, window).size == (1280, 640)


def test_heic_goes_up_as_it_is(room: Showroom, window: Window) -> None:
    window.page.goto(room.url)
    drop(window, file(builders.encoded(builders.gradient(320, 240), "HEIF"), "IMG_1.HEIC", "image/heic"))
    window.wait_state("done")
    assert stored(room, window).size == (320, 240)


@pytest.mark.parametrize(
    ("data", "name", "kind", "words"),
    [
        (b"hello", "letter.txt", "text/plain", "not a picture"),
        (b"", "empty.jpg", "image/jpeg", "empty"),
        (b"\0" * 2_100_000, "raw.heic", "image/heic", "the limit is"),
    ],
)
def test_what_cannot_be_searched_is_said_before_it_travels(
    room: Showroom, window: Window, data: bytes, name: str, kind: str, words: str
) -> None:
    before = searches(room)
    window.page.goto(room.url)
    drop(window, file(data, name, kind))
    assert words in trouble(window)
    assert searches(room) == before


def test_an_upload_whose_answer_is_lost_is_sent_again_and_is_one_search(
    room: Showroom, window: Window, photo: Path
) -> None:
    keys: list[str] = []
    window.page.on(
        "request",
        lambda r: keys.append(r.headers["idempotency-key"]) if r.url.endswith("/v1/searches") else None,
    )
    before = searches(room)
    window.page.goto(room.url)
    room.losing = 2  # the server hears it, the phone never learns
    window.page.set_input_files("#image", photo)
    window.page.wait_for_selector("text=Retrying in")
    window.wait_state("done")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert searches(room) == before + 1


def test_a_search_goes_on_when_the_network_is_back(room: Showroom, window: Window, photo: Path) -> None:
    room.holding.set()
    window.page.goto(room.url)
    window.page.set_input_files("#image", photo)
    window.page.wait_for_selector("text=Searching for products")
    window.context.set_offline(True)
    window.page.wait_for_selector("text=You are offline")
    room.holding.clear()
    assert window.page.evaluate("document.body.dataset.state") == "busy"
    window.context.set_offline(False)
    window.wait_state("done")
    assert window.texts(".hit-title")


def test_cancelling_leads_back(room: Showroom, window: Window, photo: Path) -> None:
    room.holding.set()
    try:
        window.page.goto(room.url)
        window.page.set_input_files("#image", photo)
        window.page.wait_for_selector("text=Searching for products")
        window.page.get_by_role("button", name="Cancel").click()
        window.wait_state("empty")
    finally:
        room.holding.clear()


def test_last_searches_stay_on_the_device_and_survive_their_end(
    room: Showroom, window: Window, photo: Path
) -> None:
    window.page.goto(room.url)
    assert window.page.locator("#past").is_hidden()
    window.page.set_input_files("#image", photo)
    window.wait_state("done")
    first = window.page.url
    window.page.goto(room.url)
    window.page.locator("#past .tile").click()
    window.wait_state("done")
    assert window.page.url == first

    with room.shop.parts.database.write() as session:
        session.execute(update(Search).values(expires_at=1.0))
    window.page.goto(first)
    assert "This search has expired" in window.page.inner_text("main")
    assert window.faults() == []
    window.page.goto(room.url)
    window.page.locator("#past .tile").click()
    window.wait_state("done")
    assert window.page.url != first  # searched again, with the photo that the device had kept

    window.page.goto(room.url)
    window.page.get_by_role("button", name="Clear").click()
    window.page.wait_for_selector("#past", state="hidden")
    window.page.reload()
    window.wait_state("empty")
    assert (
        window.page.evaluate(
            """() => new Promise((done) => {
          const opening = indexedDB.open("vitrine");
          opening.onsuccess = () => {
            const counting = opening.result.transaction("searches").objectStore("searches").count();
            counting.onsuccess = () => done(counting.result);
          };
        })"""
        )
        == 0
    )


def test_without_a_network_the_installed_page_says_so_and_comes_back(
    room: Showroom, installed: Window
) -> None:
    installed.context.set_offline(True)
    installed.page.goto(room.url)
    assert "You are offline" in installed.page.inner_text("main")
    assert installed.page.evaluate("getComputedStyle(document.body).display") == "flex"  # its style was kept
    assert installed.faults() == []
    installed.context.set_offline(False)
    installed.wait_state("empty")


def test_no_result_is_kept_for_later(room: Showroom, installed: Window, photo: Path) -> None:
    installed.page.set_input_files("#image", photo)
    installed.wait_state("done")
    address = installed.page.url
    kept: list[str] = installed.page.evaluate(
        """async () => (await Promise.all((await caches.keys()).map(async (name) =>
             (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname)))).flat()"""
    )
    assert kept
    assert all(path == "/offline" or path.startswith("/static/") for path in kept), kept
    installed.context.set_offline(True)
    installed.page.goto(address)
    assert "You are offline" in installed.page.inner_text("main")
    installed.context.set_offline(False)


def test_a_picture_comes_from_the_menu_of_sharing(room: Showroom, installed: Window) -> None:
    manifest: dict[str, Any] = room.shop.client.get("/manifest.webmanifest").get_json(force=True)
    target = manifest["share_target"]
    installed.page.evaluate(
        f"""([target, each]) => {{
          const form = document.createElement("form");
          Object.assign(form, {{ action: target.action, method: target.method, enctype: target.enctype }});
          const field = document.createElement("input");
          const transfer = new DataTransfer();
          transfer.items.add(({_FILE})(each));
          Object.assign(field, {{ type: "file", name: target.params.files[0].name, files: transfer.files }});
          form.append(field);
          document.body.append(form);
          form.submit();
        }}""",
        [target, file(builders.jpeg(seed=9, width=333, height=222))],
    )
    installed.page.wait_for_url("**/s/*")
    installed.wait_state("done")
    assert stored(room, installed).size == (333, 222)


def test_the_manifest_is_complete(room: Showroom) -> None:
    manifest = room.shop.client.get("/manifest.webmanifest").get_json(force=True)
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        with Picture.open(io.BytesIO(room.shop.client.get(icon["src"]).data)) as picture:
            assert f"{picture.width}x{picture.height}" == icon["sizes"]
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
