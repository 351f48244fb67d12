"""A real browser: a page of another origin with a publishable key, and a shopper on the public storefront."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser import PHONE, Browser
from tests.key_builders import OWNER_KEY, make_key
from tests.web_builders import IMAGE_ID, Shop, open_shop, picture, serving

_CALL = """async ([address, key, method, photo]) => {
  const body = photo ? new FormData() : undefined;
  if (photo) body.append("image", new Blob([new Uint8Array(photo)], { type: "image/jpeg" }), "photo.jpg");
  const headers = { Authorization: `Bearer ${key}`, Prefer: "wait=0" };
  try {
    const answer = await fetch(address, { method, body, headers });
    return [answer.status, answer.headers.get("Location"), answer.headers.get("RateLimit-Limit"),
            await answer.text()];
  } catch (error) { return [0, null, null, String(error)]; }
}"""
_SHOW = """(address) => new Promise((done) => {
  const image = new Image();
  image.onload = () => done(image.naturalWidth);
  image.onerror = () => done(0);
  image.src = address;
})"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return open_shop(tmp_path, web={"api_key": OWNER_KEY, "public": "demo"})


@pytest.fixture
def other_site() -> Iterator[str]:
    """An empty page on another origin."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>shop</title>")

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_of_another_origin_searches_and_shows_pictures(
    chromium: Browser, shop: Shop, other_site: str
) -> None:
    key, elsewhere = (
        make_key(shop, origins=[other_site]),
        make_key(shop, origins=["https://elsewhere.example"]),
    )
    with serving(shop) as url, closing(chromium.open()) as window:
        window.page.goto(other_site)

        def call(path: str, key: str, method: str = "GET", photo: bytes | None = None) -> Any:
            return window.page.evaluate(_CALL, [f"{url}{path}", key, method, list(photo) if photo else None])

        status, location, limit, _ = call("/v1/searches", key.key, "POST", picture())
        assert (status, limit) == (202, "600"), "and the page reads the headers"
        shop.answer_all()
        status, _, _, text = call(location, key.key)
        assert (status, "Oak" in text) == (200, True)
        assert call("/v1/catalogues/demo/products/chair-1", key.key)[0] == 200
        assert call("/v1/catalogues/demo/products/chair-1/similar", key.key)[0] == 202
        assert call("/v1/catalogues", key.key)[0] == 0, "no other call passes the preflight"
        status, _, _, text = call("/v1/searches", elsewhere.key, "POST", picture())
        assert status == 0, "the answer to a key of another origin cannot be read"
        shown = f"{url}/v1/images/{IMAGE_ID}?size=320"
        assert window.page.evaluate(_SHOW, f"{shown}&key={key.key}") > 0
        assert window.page.evaluate(_SHOW, f"{shown}&key={elsewhere.key}") == 0
        assert window.page.evaluate(_SHOW, shown) == 0, "control: without a key"
        shop.parts.keys.revoke(key.id)
        shop.parts.key_ring.forget()
        status, _, _, text = call("/v1/catalogues/demo/products/chair-1", key.key)
        assert (status, "was revoked" in text) == (401, True), "the browser remembers the preflight"
        assert call("/v1/catalogues/demo/products/chair-2", key.key)[0] == 0, "a new preflight is refused"


def test_a_shopper_deletes_a_photo_on_the_page(chromium: Browser, shop: Shop) -> None:
    with serving(shop) as url, closing(chromium.open(PHONE)) as window:
        window.page.goto(url)
        files = [{"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": picture((640, 480))}]
        window.page.set_input_files("#image", files)  # type: ignore[arg-type]
        while not shop.answer_all():
            window.page.wait_for_timeout(50)
        window.wait_state("done")
        assert window.page.locator(".photo image").count() == 1
        address = window.page.url
        assert window.faults() == []
        with closing(chromium.open()) as stranger:
            stranger.page.goto(address)
            assert stranger.page.locator(".hits").count() > 0
            assert stranger.page.locator(".photo image").count() == 0
            assert stranger.page.get_by_role("button", name="Delete my photo").count() == 0
        window.page.get_by_role("button", name="Delete my photo").click()
        window.page.wait_for_selector("h1:has-text('This search was deleted')")
        assert list(shop.parts.store.older_than("queries", -3600)) == []


def test_the_owners_pages_of_keys_and_the_log_are_accessible(chromium: Browser, shop: Shop) -> None:
    make_key(shop)
    with serving(shop) as url, closing(chromium.open(PHONE)) as window:
        window.page.goto(f"{url}/manage/keys")
        window.page.fill("#key", OWNER_KEY)
        window.page.get_by_role("button", name="Sign in").click()
        window.page.wait_for_selector("#new-key")
        assert len(window.complaints()) == 1, "the first answer was 401"
        window.page.fill("#key-name", "Widget")
        window.page.fill("#key-catalogues", "demo")
        window.page.fill("#key-origins", "https://shop.example")
        window.page.locator("#new-key button").click()
        assert window.page.locator("code.key").inner_text().startswith("vt_")
        assert (window.faults(), window.fits()) == ([], True)
        window.page.goto(f"{url}/manage/audit")
        assert window.page.locator("td:has-text('manage.create_key')").count() == 1
        assert (window.faults(), window.fits(), window.complaints()) == ([], True, [])
