"""Which title a reader gets."""

from __future__ import annotations

import pytest

from shared.catalogue.display import choose_title

DEMO = {"en": "Chair", "de": "Stuhl", "pt": "Cadeira", "pt_BR": "Cadeira BR", "zh_CN": "椅", "zh_TW": "椅子"}


@pytest.mark.parametrize(
    ("titles", "locale", "title"),
    [
        (DEMO, "de", "Stuhl"),
        (DEMO, "de_CH", "Stuhl"),
        (DEMO, "de-CH", "Stuhl"),
        (DEMO, "pt_BR", "Cadeira BR"),
        (DEMO, "pt_PT", "Cadeira"),
        (DEMO, "zh_Hans", "椅"),
        (DEMO, "zh", "椅"),
        (DEMO, "zh_Hant", "椅子"),
        (DEMO, "zh_Hant_HK", "椅子"),
        (DEMO, "zh_HK", "椅子"),
        (DEMO, "yue", "椅子"),
        (DEMO, "et", "Chair"),
        ({"pt_BR": "Cadeira BR", "en": "Chair"}, "pt", "Cadeira BR"),
        ({"pt_BR": "Cadeira BR", "en": "Chair"}, "pt_PT", "Cadeira BR"),
        ({"zh-TW": "椅子", "en": "Chair"}, "zh_CN", "椅子"),
        ({"no": "Stol", "en": "Chair"}, "nb_NO", "Stol"),
        ({"en_GB": "Armchair", "de": "Stuhl"}, "fr", "Armchair"),
        ({"de": "Stuhl"}, "fr", "Stuhl"),
        ({"fr": "", "en": "Chair"}, "fr", "Chair"),
        ({}, "fr", "chair-1"),
        ({"en": ""}, "en", "chair-1"),
        # A language whose code begins as another's is not that one.
        ({"fil": "Upuan", "en": "Chair"}, "fi", "Chair"),
    ],
)
def test_the_nearest_title(titles: dict[str, str], locale: str, title: str) -> None:
    assert choose_title(titles, locale, "chair-1") == title


def test_damaged_titles_are_no_titles() -> None:
    for damaged in ([1], "text", 5, {"en": 7}, {"en": None}):
        assert choose_title(damaged, "en", "p1") == "p1"  # type: ignore[arg-type]
