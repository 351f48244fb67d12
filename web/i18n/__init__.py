"""Choose the reader's language, and provide translation and formatting to templates.

Only this module sets up Flask-Babel. Texts are English msgids; `make words` collects them into
web/locales. See docs/languages.md for correcting a translation or adding a language.
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

#: Supported languages by their folder in web/locales, with their native names.
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
    """The language preferences of a request.

    Attributes:
        language: one of LANGUAGES.
        locale: the language with the reader's territory, for numbers, dates and money.
        titles: preferred locale of product titles, which exist in more languages: ``de_CH``, ``et``.
    """

    language: str
    locale: Locale
    titles: str

    @property
    def tag(self) -> str:
        """The language tag for HTML: ``zh-Hant``."""
        return self.language.replace("_", "-")

    @property
    def territory(self) -> str | None:
        """Territory of the locale, None if unknown."""
        return self.locale.territory


def match_language(tag: str) -> str | None:
    """Return the supported language of a tag such as ``pt-BR``, or None."""
    if not _TAG.match(tag):
        return None
    head, *rest = tag.replace("_", "-").lower().split("-")
    if head in ("zh", "yue"):
        traditional = head == "yue" or bool(_TRADITIONAL.intersection(rest))
        return "zh_Hant" if traditional and "hans" not in rest else "zh_Hans"
    return head if head in LANGUAGES else None


def negotiate(chosen: Iterable[str | None], accepted: Iterable[str]) -> Reader:
    """Choose the language of a reader.

    Args:
        chosen: language switch values, newest first.
        accepted: the tags of Accept-Language, most preferred first.
    """
    valid = [tag for tag in accepted if _TAG.match(tag)]
    switched = next((found for tag in chosen if tag and (found := match_language(tag))), None)
    language = switched or next((found for tag in valid if (found := match_language(tag))), DEFAULT)
    territory = next(
        (found for tag in valid if match_language(tag) == language and (found := _territory(tag))), None
    )
    locale = _locale(language, territory)
    if switched or not valid:
        titles = str(locale)
    else:
        head, *rest = valid[0].replace("_", "-").split("-")
        titles = "_".join([head.lower(), *rest[:2]])
    return Reader(language, locale, titles)


def _territory(tag: str) -> str | None:
    parts = tag.replace("_", "-").split("-")[1:]
    return next((part.upper() for part in parts if len(part) == 2 and part.isalpha()), None)


def _locale(language: str, territory: str | None) -> Locale:
    try:
        return Locale.parse(f"{language}_{territory}" if territory else language)
    except (UnknownLocaleError, ValueError):
        return Locale.parse(language)  # unknown to CLDR, such as German in Japan


def reader() -> Reader:
    """Return the reader of the current request."""
    if "reader" not in g:
        g.reader = negotiate(
            (request.args.get(ARGUMENT), request.cookies.get(COOKIE)), request.accept_languages.values()
        )
    return cast(Reader, g.reader)


def format_number(value: float | Decimal, decimals: int | None = None) -> str:
    """Filter: format a number for the reader's locale, with a fixed number of decimals if given."""
    pattern = None if decimals is None else "#,##0." + decimals * "0"
    return format_decimal(value, format=pattern, locale=reader().locale)


def format_duration(seconds: float) -> str:
    """Filter: format a duration for the reader's locale: ``0.42 sec``, ``3 min 5 sec``, ``2 hr 10 min``."""
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


def format_time(moment: datetime | float | str) -> str:
    """Filter: format a time (Unix seconds, ISO text or an aware datetime) for the reader's locale, in UTC.

    The server does not know the reader's time zone; a script converts ``<time datetime>`` elements.
    """
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    elif not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return f"{format_datetime(moment.astimezone(UTC), 'medium', locale=reader().locale)} UTC"


def register_languages(app: Flask) -> None:
    """Register translation, the language switch and the format filters."""
    Babel(
        app,
        default_locale=DEFAULT,
        default_translation_directories="locales",
        locale_selector=lambda: reader().language,
    )
    app.jinja_env.filters.update(number=format_number, duration=format_duration, time=format_time)

    @app.context_processor
    def _of_reader() -> dict[str, object]:
        current = reader()
        return {
            "language": current.tag,
            "direction": current.locale.text_direction,
            "languages": {name.replace("_", "-"): native for name, native in LANGUAGES.items()},
            "title_locale": current.titles,
        }


def remember_language(response: Response) -> Response:
    """Name the language of a page, and store the reader's choice in a cookie."""
    if response.mimetype != "text/html":
        return response
    response.headers["Content-Language"] = reader().tag
    response.vary.update(("Accept-Language", "Cookie"))
    tag = request.args.get(ARGUMENT)
    if tag and match_language(tag):
        set_preference_cookie(response, COOKIE, reader().language)
    return response


def set_preference_cookie(response: Response, name: str, value: str) -> None:
    """Set a preference cookie for a year, for this site only and hidden from scripts."""
    response.set_cookie(name, value, max_age=YEAR_S, secure=request.is_secure, httponly=True, samesite="Lax")
