"""The translations are whole: every text in every language, with its placeholders and all its plurals."""

from __future__ import annotations

import ast
import gettext
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po

import bin.words as words
from tests.web_builders import Shop, open_shop
from web.i18n import DEFAULT, LANGUAGES

ROOT = Path(__file__).parents[2]
TRANSLATED = [language for language in LANGUAGES if language != DEFAULT]
PLACEHOLDER = re.compile(r"%(?:\((\w+)\)[a-z]|(.))")
#: How many forms CLDR gives the cardinal numbers of a language, where gettext asks for integers only.
FORMS = {"ar": 6, "cs": 3, "pl": 3, "ru": 3, "uk": 3, "hu": 1, "tr": 1, "ja": 1, "ko": 1}


@pytest.fixture(scope="module")
def template() -> Catalog:
    return words.collect()


def texts(catalogue: Catalog) -> list[Message]:
    return [message for message in catalogue if message.id]


def ids(catalogue: Catalog) -> set[object]:
    return {message.id for message in texts(catalogue)}


def forms(text: str | tuple[str, ...] | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


def marks(text: str) -> set[str]:
    """The placeholders of a text; a lone percent sign is one that no text may have."""
    return {name or f"%{sign}" for name, sign in PLACEHOLDER.findall(text)}


def test_the_template_is_that_of_the_source(template: Catalog) -> None:
    with (words.LOCALES / "messages.pot").open("rb") as file:
        kept = read_po(file)
    assert ids(kept) == ids(template), "run `make words`, then translate what is new"
    assert len(template) > 300


def test_every_literal_of_the_source_is_in_the_template(template: Catalog) -> None:
    known = {text for message in texts(template) for text in forms(message.id)}
    found: set[str] = set()
    for path in (ROOT / "web").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("_", "ngettext"):
                said = [each.value for each in call.args if isinstance(each, ast.Constant)]
                assert said, f"{path.name}:{call.lineno}: only a literal can be translated"
                found.update(text for text in said if isinstance(text, str))
    literal = re.compile(r"""\b_\(\s*"((?:[^"\\]|\\.)*)"|\b_\(\s*'((?:[^'\\]|\\.)*)'""")
    for path in (ROOT / "web" / "templates").rglob("*.html"):
        found.update(double or single for double, single in literal.findall(path.read_text()))
    assert len(found) > 300
    assert found <= known


def test_no_text_has_a_lone_percent_sign(template: Catalog) -> None:
    for message in texts(template):
        for text in forms(message.id):
            assert {mark for mark in marks(text) if mark.startswith("%")} <= {"%%"}, text


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_language_is_whole(template: Catalog, language: str) -> None:
    catalogue = words.load(language)
    assert ids(catalogue) == ids(template)
    assert words.left(catalogue) == []
    number = get_plural(language).num_plurals
    assert catalogue.num_plurals == number == FORMS.get(language, 1 if language.startswith("zh") else 2)
    for message in texts(catalogue):
        if message.pluralizable:
            assert len(message.string) == number, message.id
        wanted = marks(forms(message.id)[-1])
        for text in forms(message.string):
            assert text.strip() == text, message.id
            # A form for one, two or none may say the number as a word.
            missing = wanted - marks(text) if not message.pluralizable else set()
            assert not missing, (message.id, text)
            assert marks(text) <= wanted, (message.id, text)
        if message.pluralizable:
            assert marks(message.string[-1]) == wanted, message.id


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_pages_read_is_made_of_what_people_write(language: str) -> None:
    assert words.path_of(language, "mo").read_bytes() == words.mo_bytes(words.load(language))


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", {1: "1 product", 2: "2 products"}),
        ("fr", {0: "0 produit", 1: "1 produit", 2: "2 produits"}),
        ("pl", {1: "1 produkt", 3: "3 produkty", 5: "5 produktów", 12: "12 produktów", 22: "22 produkty"}),
        ("ru", {1: "1 товар", 2: "2 товара", 11: "11 товаров", 21: "21 товар", 24: "24 товара"}),
        ("cs", {1: "1 produkt", 4: "4 produkty", 5: "5 produktů"}),
        (
            "ar",
            {
                0: "لا منتجات",
                1: "منتج واحد",
                2: "منتجان",
                3: "3 منتجات",
                11: "11 منتجًا",
                100: "100 منتج",
            },
        ),
        ("ja", {1: "商品 1 件", 5: "商品 5 件"}),
    ],
)
def test_plurals(language: str, said: dict[int, str]) -> None:
    if language == DEFAULT:
        spoken: gettext.NullTranslations = gettext.NullTranslations()
    else:
        with words.path_of(language, "mo").open("rb") as file:
            spoken = gettext.GNUTranslations(file)
    for number, text in said.items():
        found = spoken.ngettext("%(count)s product", "%(count)s products", number)
        assert found % {"count": number} == text


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("shop"))


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_start_page_is_in_the_language_and_reads_its_way(shop: Shop, language: str) -> None:
    page = shop.client.get("/", headers={"Accept-Language": language.replace("_", "-")}).text
    way = "rtl" if language == "ar" else "ltr"
    assert f'<html lang="{language.replace("_", "-")}" dir="{way}"' in page
    with words.path_of(language, "mo").open("rb") as file:
        spoken = gettext.GNUTranslations(file)
    assert spoken.gettext("Find it by photo") in page
    assert "Find it by photo" not in page
    gone = shop.client.get("/nowhere", headers={"Accept-Language": language, "Accept": "text/html"})
    assert gone.status_code == 404
    assert spoken.gettext("Not found") in gone.text
