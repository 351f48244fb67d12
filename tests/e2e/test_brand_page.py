"""A shop's brand in the browser: a colour that is hard to read, in both colour schemes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import PHONE, Browser
from tests.showroom import Showroom, things

pytestmark = [pytest.mark.services, pytest.mark.browser]

LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 4"><rect width="8" height="4" fill="#06c"/></svg>'
)


def test_a_yellow_brand_is_readable_in_both_schemes(chromium: Browser, photo: Path, tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text(LOGO)
    links = {"imprint": "https://shop.example/imprint", "privacy": "https://shop.example/privacy"}
    brand = {"name": "Oak & Linen", "accent": "#ffee00", "logo": logo, **links}
    with Showroom(tmp_path / "room", things(), brand=brand) as room:
        for colours in ("light", "dark"):
            window = chromium.open(PHONE, colours=colours)
            window.page.goto(room.url)
            window.wait_state("empty")
            assert window.page.locator(".brand-logo").evaluate("image => image.naturalWidth") > 0
            assert (window.faults(), window.fits(), window.complaints()) == ([], True, []), colours
            window.shoot(tmp_path / f"{colours}.png")
            window.page.set_input_files("#image", photo)
            window.wait_state("done")
            assert window.page.title() == "Search results · Oak & Linen"
            assert (window.faults(), window.fits(), window.complaints()) == ([], True, []), colours
            window.close()
