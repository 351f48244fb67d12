"""One search in a real browser below a path of another host's pages."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser import PHONE, Browser
from tests.prefix_proxy import serving_below
from tests.showroom import Showroom, things

pytestmark = [pytest.mark.services, pytest.mark.browser]
KEY = "k" * 32


def test_a_search_below_a_path(tmp_path: Path, chromium: Browser, photo: Path) -> None:
    settings = {"proxies": 1, "api_key": KEY}
    with Showroom(tmp_path, things(20), web=settings) as room, serving_below("/suche", room.url) as site:
        window = chromium.open(PHONE, workers=True)
        requested: list[str] = []
        window.page.on("request", lambda request: requested.append(request.url))
        window.page.goto(f"{site}/sign-in?next=/")
        window.page.fill("#key", KEY)
        window.page.click("button[type=submit]:has-text('Sign in')")
        window.wait_state("empty")
        # Not `ready`, which stays open for ever if the script is faulty.
        register = "navigator.serviceWorker.register(`${document.documentElement.dataset.root}/sw.js`)"
        scope = window.page.evaluate(f"{register}.then((found) => found.scope)")
        assert scope == f"{site}/"

        window.page.set_input_files("#image", photo)
        window.wait_state("done")
        assert window.page.url.startswith(f"{site}/s/")
        pictures = window.page.locator(".hit img").first
        assert pictures.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
        window.page.reload()
        window.wait_state("done")
        window.page.locator("a.hit-link").first.click()
        window.page.wait_for_selector(".sheet")
        assert window.page.url.startswith(f"{site}/p/")

        cookies = {cookie["path"] for cookie in window.context.cookies()}
        assert cookies == {"/suche"}
        outside = {url for url in requested if url.startswith("http") and not url.startswith(site)}
        assert not {url for url in outside if urlsplit(url).netloc == urlsplit(site).netloc}
        assert window.complaints() == []
        window.close()
