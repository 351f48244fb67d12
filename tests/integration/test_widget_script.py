"""The widget as the web serves it: small, cacheable, for pages of any site, with texts in all languages."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import app
from shared.widget_script import read_widget, widget_integrity, widget_version
from tests.web_builders import Shop, open_shop
from web.i18n import LANGUAGES
from web.storefront.widget import SCRIPT

ROOT = Path(__file__).parents[2]
MAX_COMPRESSED_BYTES = 20_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("widget"))


def test_it_is_small_and_runs_under_a_strict_policy() -> None:
    script = read_widget(SCRIPT)
    assert len(gzip.compress(script, 9)) <= MAX_COMPRESSED_BYTES
    for forbidden in (
        b"innerHTML",
        b"eval(",
        b"new Function",
        b'setAttribute("style"',
        b"createElement('style')",
    ):
        assert forbidden not in script


def test_pages_of_any_site_may_load_it(shop: Shop) -> None:
    plain = shop.client.get("/widget/vitrine.js")
    pinned = shop.client.get(f"/widget/{widget_version(SCRIPT)}/vitrine.js")
    for answer in (plain, pinned, shop.client.get("/widget/texts/de-AT.json")):
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert plain.data == pinned.data == read_widget(SCRIPT)
    assert "immutable" in pinned.headers["Cache-Control"]
    assert plain.headers["Cache-Control"] == "public, max-age=300"
    old = shop.client.get("/widget/000000000000/vitrine.js")
    assert old.status_code == 404
    assert "vitrine widget" in old.get_json()["error"]["message"]


def test_its_texts_are_there_in_every_language(shop: Shop) -> None:
    built_in = (ROOT / "clients" / "widget" / "src" / "texts.js").read_text(encoding="utf-8")
    names = set(re.findall(r"\b([a-z_]+): \"", built_in.split("errors: {")[0].split("const english")[1]))
    english = shop.client.get("/widget/texts/en.json").get_json()
    assert names <= english.keys()
    for language in LANGUAGES:
        found = shop.client.get(f"/widget/texts/{language.replace('_', '-')}.json").get_json()
        assert found["language"] == language.replace("_", "-")
        assert found["direction"] == ("rtl" if language == "ar" else "ltr")
        assert found.keys() == english.keys()
        if language != "en":
            assert found["drop"] != english["drop"], language
    assert shop.client.get("/widget/texts/tlh.json").get_json()["drop"] == english["drop"]


def test_the_command_prints_a_tag() -> None:
    arguments = ["widget", "https://s.example/suche/", "--key", 'vt_a"b', "--catalogue", "shop"]
    printed = CliRunner().invoke(app, arguments).output
    assert printed == (
        '<script src="https://s.example/suche/widget/vitrine.js" data-key="vt_a&quot;b" '
        'data-catalogue="shop" defer></script>\n'
    )
    pinned = CliRunner().invoke(app, [*arguments, "--pin"]).output
    assert f"/widget/{widget_version(SCRIPT)}/vitrine.js" in pinned
    assert f'integrity="{widget_integrity(SCRIPT)}" crossorigin="anonymous"' in pinned
