"""An owner's browser: what a catalogue's scores mean, how that is learnt, and what is shown first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from shared.catalogue.ranking import RankingRepository
from shared.contracts.search import Boost
from tests.browser import SIZES, Browser, Window
from tests.manage_builders import add_version
from tests.showroom import Showroom, things

pytestmark = pytest.mark.browser


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Showroom]:
    with Showroom(tmp_path, things(4)) as opened:
        add_version(opened.shop, 1, "live")
        wanted = [Boost(filter='category = "Chairs" and price < 50', factor=1.25)]
        RankingRepository(opened.shop.parts.database).set_boosts("demo", wanted)
        yield opened


def sound(window: Window) -> None:
    assert window.faults() == []
    assert window.fits()
    assert window.complaints() == []


@pytest.mark.parametrize(("size", "scripts"), [("desktop", True), ("phone", False)])
def test_what_scores_mean_is_learnt_at_a_press(
    room: Showroom, chromium: Browser, size: str, scripts: bool
) -> None:
    window = chromium.open(SIZES[size], language="en-IE", scripts=scripts)
    page = window.page
    page.goto(f"{room.url}/manage/catalogues/demo")
    expect(page.locator("#boosts")).to_contain_text('category = "Chairs" and price < 50')
    expect(page.locator("#boosts")).to_contain_text("× 1.25")
    if scripts:
        sound(window)
    page.get_by_role("button", name="Calibrate scores").click()
    page.wait_for_url("**/manage/jobs/*")
    job = page.url.rpartition("/")[2]
    assert room.shop.parts.jobs.status(job).kind == "calibrate"
    page.goto(f"{room.url}/manage/catalogues/demo")
    expect(page.locator("#meaning")).to_contain_text("Calibration")
    expect(page.get_by_role("button", name="Calibrate scores")).to_have_count(0)
    window.close()


def test_it_is_there_from_right_to_left(room: Showroom, chromium: Browser) -> None:
    window = chromium.open(SIZES["phone"], language="ar", colours="dark")
    window.page.goto(f"{room.url}/manage/catalogues/demo")
    expect(window.page.locator("#meaning button")).to_be_visible()
    sound(window)
    window.close()
