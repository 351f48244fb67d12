"""The reader's language: which it is, and what templates need to speak it.

The only importer of Flask-Babel's wiring. Texts are English msgids; `make words` collects them into
web/locales, and docs/languages.md says how a translation is corrected or a language added.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

from babel import Locale, UnknownLocaleError
from babel.dates import format_datetime
from babel.numbers import format_decimal
from babel.units import format_unit
from flask import Flask, Response, g, request
from flask_babel import Babel

#: Ours, by the name of their folder in web/locales, each called as its readers call it.
LANGUAGES: dict[str, str] = {
    "en": "English",
    "de": "Deutsch",
    "fr": "Français",
    "es": "Español",
    "it": "Italiano",
    "pt": "Português",
    "nl": "Nederlands",
    "da": "Dansk",
    "sv": "Svenska",
    "fi": "Suomi",
    "pl": "Polski",
    "cs": "Čeština",
    "hu": "Magyar",
    "el": "Ελληνικά",
    "tr": "Türkçe",
    "ru": "Русский",
    "uk": "Українська",
    "ar": "العربية",
    "ja": "日本語",
    "ko": "한국어",
    "zh_Hans": "简体中文",
    "zh_Hant": "繁體中文",
}
DEFAULT = "en"
COOKIE = "vitrine_language"
ARGUMENT = "lang"
YEAR_S = 365 * 86_400
_TAG = re.compile(r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,3}$")
_TRADITIONAL = {"hant", "tw", "hk", "mo"}


@dataclass(frozen=True)
class Reader:
    """Who reads the page.

    Args:
        language: one of LANGUAGES.
        locale: of numbers, dates and money: the language with the reader's territory.
        titles: of product titles, which may come in more languages than ours: ``de_CH``, ``et``.
    """

    language: str
    locale: Locale
    titles: str

    @property
    def tag(self) -> str:
        """As HTML writes it: ``zh-Hant``."""
        return self.language.replace("_", "-")

    @property
    def territory(self) -> str | None:
        """Of the locale, None when the reader said none."""
        return self.locale.territory


def known(tag: str) -> str | None:
    """Return which of LANGUAGES a tag such as ``pt-BR`` means, or None."""
    if not _TAG.match(tag):
        return None
    head, *rest = tag.replace("_", "-").lower().split("-")
    if head in ("zh", "yue"):
        traditional = head == "yue" or bool(_TRADITIONAL.intersection(rest))
        return "zh_Hant" if traditional and "hans" not in rest else "zh_Hans"
    return head if head in LANGUAGES else None


def negotiate(chosen: Iterable[str | None], accepted: Iterable[str]) -> Reader:
    """Decide who reads.

    Args:
        chosen: by the reader's own switch, the newest first.
        accepted: the tags of Accept-Language, the dearest first.
    """
    wishes = [tag for tag in accepted if _TAG.match(tag)]
    switched = next((found for tag in chosen if tag and (found := known(tag))), None)
    language = switched or next((found for tag in wishes if (found := known(tag))), DEFAULT)
    place = next((where for tag in wishes if known(tag) == language and (where := _territory(tag))), None)
    locale = _locale(language, place)
    if switched or not wishes:
        titles = str(locale)
    else:
        head, *rest = wishes[0].replace("_", "-").split("-")
        titles = "_".join([head.lower(), *rest[:2]])
    return Reader(language, locale, titles)


def _territory(tag: str) -> str | None:
    parts = tag.replace("_", "-").split("-")[1:]
    return next((part.upper() for part in parts if len(part) == 2 and part.isalpha()), None)


def _locale(language: str, territory: str | None) -> Locale:
    try:
        return Locale.parse(f"{language}_{territory}" if territory else language)
    except (UnknownLocaleError, ValueError):
        return Locale.parse(language)  # CLDR does not know the pair, as German in Japan


def reader() -> Reader:
    """Return who reads the answer to the present request."""
    if "reader" not in g:
        g.reader = negotiate(
            (request.args.get(ARGUMENT), request.cookies.get(COOKIE)), request.accept_languages.values()
        )
    return cast(Reader, g.reader)


def number(value: float | Decimal, decimals: int | None = None) -> str:
    """Filter: 12345.6 as the reader writes it, with so many decimals where numbers stand in a column."""
    pattern = None if decimals is None else "#,##0." + decimals * "0"
    return format_decimal(value, format=pattern, locale=reader().locale)


def duration(seconds: float) -> str:
    """Filter: ``0.42 sec``, ``3 min 5 sec``, ``2 hr 10 min``, in the reader's words."""
    locale = reader().locale

    def part(value: float, unit: str) -> str:
        return format_unit(value, f"duration-{unit}", length="short", locale=locale)

    whole = max(0, round(seconds))
    if seconds < 10:
        return part(round(max(0.0, seconds), 2 if seconds < 1 else 1), "second")
    if whole < 60:
        return part(whole, "second")
    if whole < 3600:
        return f"{part(whole // 60, 'minute')} {part(whole % 60, 'second')}"
    if whole < 86_400:
        return f"{part(whole // 3600, 'hour')} {part(whole % 3600 // 60, 'minute')}"
    return f"{part(whole // 86_400, 'day')} {part(whole % 86_400 // 3600, 'hour')}"


def when(moment: datetime | float) -> str:
    """Filter: a moment (seconds since 1970, or with its zone) as the reader writes it, in UTC.

    The server does not know the reader's zone; ``<time datetime>`` lets a script tell it.
    """
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return f"{format_datetime(moment.astimezone(UTC), 'medium', locale=reader().locale)} UTC"


def speak(app: Flask) -> None:
    """Give the application languages: the switch and its cookie, ``_()``, the filters."""
    Babel(
        app,
        default_locale=DEFAULT,
        default_translation_directories="locales",
        locale_selector=lambda: reader().language,
    )
    app.jinja_env.filters.update(number=number, duration=duration, when=when)

    @app.context_processor
    def _of_reader() -> dict[str, object]:
        who = reader()
        return {
            "language": who.tag,
            "direction": who.locale.text_direction,
            "languages": {name.replace("_", "-"): called for name, called in LANGUAGES.items()},
            "title_locale": who.titles,
        }

    @app.after_request
    def _remember(response: Response) -> Response:
        if response.mimetype != "text/html":
            return response
        response.headers["Content-Language"] = reader().tag
        response.vary.update(("Accept-Language", "Cookie"))
        wanted = request.args.get(ARGUMENT)
        if wanted and known(wanted):
            keep(response, COOKIE, reader().language)
        return response


def keep(response: Response, name: str, value: str) -> None:
    """Set a cookie of the reader's taste: for a year, for this site, not for scripts."""
    response.set_cookie(name, value, max_age=YEAR_S, secure=request.is_secure, httponly=True, samesite="Lax")
