"""Which language a reader gets, and what numbers, durations and moments look like in it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.web_builders import Shop, open_shop
from web.i18n import LANGUAGES, format_duration, format_number, format_time, negotiate


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("shop"))


@pytest.mark.parametrize(
    ("chosen", "accepted", "language", "locale", "titles"),
    [
        ((), (), "en", "en", "en"),
        ((), ("de",), "de", "de", "de"),
        ((), ("de-CH", "fr"), "de", "de_CH", "de_CH"),
        ((), ("pt-BR",), "pt", "pt_BR", "pt_BR"),
        ((), ("zh-TW",), "zh_Hant", "zh_Hant_TW", "zh_TW"),
        ((), ("zh-Hant-HK",), "zh_Hant", "zh_Hant_HK", "zh_Hant_HK"),
        ((), ("zh-Hans-HK",), "zh_Hans", "zh_Hans_HK", "zh_Hans_HK"),
        ((), ("zh",), "zh_Hans", "zh_Hans", "zh"),
        ((), ("yue",), "zh_Hant", "zh_Hant", "yue"),
        # The page cannot speak Estonian; the catalogue may.
        ((), ("et", "sv-FI"), "sv", "sv_FI", "et"),
        ((), ("de-JP",), "de", "de", "de_JP"),
        ((), ("x", "*", "'; --", "fr"), "fr", "fr", "fr"),
        # The switch is stronger than the browser, and takes the territory from it where they agree.
        (("ar", "fr"), ("en-US",), "ar", "ar", "ar"),
        ((None, "fr"), ("en-US", "fr-CA"), "fr", "fr_CA", "fr_CA"),
        (("tlh", "de"), ("en",), "de", "de", "de"),
        (("../../etc", None), (), "en", "en", "en"),
    ],
)
def test_negotiation(
    chosen: tuple[str | None, ...], accepted: tuple[str, ...], language: str, locale: str, titles: str
) -> None:
    who = negotiate(chosen, accepted)
    assert (who.language, str(who.locale), who.titles) == (language, locale, titles)


def test_the_switch_is_kept_in_a_cookie(shop: Shop) -> None:
    client = shop.client
    page = client.get("/?lang=ar", headers={"Accept-Language": "de"})
    assert '<html lang="ar" dir="rtl">' in page.text
    assert page.headers["Content-Language"] == "ar"
    assert {"Accept-Language", "Cookie"} <= set(page.vary)
    cookie = page.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    again = client.get("/", headers={"Accept-Language": "de"})
    assert '<html lang="ar" dir="rtl">' in again.text
    assert "Set-Cookie" not in again.headers


def test_what_is_no_language_changes_nothing(shop: Shop) -> None:
    page = shop.client.get("/?lang=tlh%22%3E", headers={"Accept-Language": "de"})
    assert '<html lang="de" dir="ltr">' in page.text
    assert "Set-Cookie" not in page.headers


def test_the_form_offers_every_language_by_its_own_name_and_keeps_the_rest_of_the_address(shop: Shop) -> None:
    page = shop.client.get("/?catalogue=demo&lang=fr").text
    for name, called in LANGUAGES.items():
        assert called in page
        assert f'value="{name.replace("_", "-")}"' in page
    assert '<input type="hidden" name="catalogue" value="demo">' in page
    assert '<input type="hidden" name="lang"' not in page


@pytest.mark.parametrize(
    ("tag", "figure", "short", "long", "moment"),
    [
        ("en-US", "12,345.6", "0.42 sec", "3 min 5 sec", "Nov 21, 2026, 2:05:00\u202fPM UTC"),
        ("de", "12.345,6", "0,42 Sek.", "3 Min. 5 Sek.", "21.11.2026, 14:05:00 UTC"),
        ("fr", "12\u202f345,6", "0,42\u202fs", "3\u00a0min 5\u202fs", "21 nov. 2026, 14:05:00 UTC"),
        ("ja", "12,345.6", "0.42 秒", "3 分 5 秒", "2026/11/21 14:05:00 UTC"),
    ],
)
def test_numbers_durations_and_moments(
    shop: Shop, tag: str, figure: str, short: str, long: str, moment: str
) -> None:
    with shop.app.test_request_context("/", headers={"Accept-Language": tag}):
        assert format_number(12345.6) == figure
        assert format_duration(0.4213) == short
        assert format_duration(185) == long
        assert format_time(datetime(2026, 11, 21, 14, 5, tzinfo=UTC)) == moment
        assert format_time(1795269900) == moment


def test_numbers_of_a_column_have_as_many_decimals_each(shop: Shop) -> None:
    def written(language: str) -> list[str]:
        with shop.app.test_request_context("/", headers={"Accept-Language": language}):
            return [format_number(value, 2) for value in (0.4, 0.385, 1.0)]

    assert written("en") == ["0.40", "0.38", "1.00"]
    assert written("de") == ["0,40", "0,38", "1,00"]


def test_every_language_has_a_direction_and_a_folder_name_that_cldr_knows() -> None:
    directions = {name: negotiate((name,), ()).locale.text_direction for name in LANGUAGES}
    assert {name for name, way in directions.items() if way == "rtl"} == {"ar"}
