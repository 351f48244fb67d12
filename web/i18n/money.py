"""Prices in the reader's money: which it is, how it is written, and of which day the rates are."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import cast

from babel.dates import format_date
from babel.numbers import format_currency, get_currency_name, get_territory_currencies
from flask import Flask, Response, current_app, g, request
from flask_babel import gettext as _

from shared.money.rates import Rates, RatesBook
from web.i18n import keep, reader

COOKIE = "vitrine_currency"
ARGUMENT = "currency"
#: The reader's choice to see each price as the shop has it.
OWN = "own"
_EXTENSION = "vitrine-rates"
_SIGN_MEETS_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
#: Languages whose bare tag says a country too. Those of many countries say none.
_ONE_COUNTRY = {
    "cs": "CZ",
    "da": "DK",
    "fi": "FI",
    "he": "IL",
    "hu": "HU",
    "ja": "JP",
    "ko": "KR",
    "nb": "NO",
    "pl": "PL",
    "sv": "SE",
    "th": "TH",
    "tr": "TR",
    "uk": "UA",
    "vi": "VN",
}


@dataclass
class Purse:
    """The reader's money while one answer is made.

    Args:
        currency: to convert into; None: each price stays as the shop has it.
        days: of the rates that were used so far.
    """

    rates: Rates | None
    currency: str | None
    days: set[date] = field(default_factory=set)


def wanted_currency(chosen: list[str | None], locale_of: tuple[str, str | None], rates: Rates) -> str | None:
    """Decide on a currency: what the reader chose, else that of the country, else none.

    Args:
        chosen: by the reader's switch, the newest first; OWN is a choice too.
        locale_of: language and territory, None when unknown.
    """
    for code in chosen:
        if code == OWN:
            return None
        if code in rates.currencies:
            return code
    language, territory = locale_of
    country = territory or _ONE_COUNTRY.get(language)
    used = get_territory_currencies(country) if country else []
    return next((code for code in used if code in rates.currencies), None)


def purse() -> Purse:
    """Return the money of who reads the answer to the present request."""
    if "purse" not in g:
        rates = rates_in_force()
        chosen = [request.args.get(ARGUMENT), request.cookies.get(COOKIE)]
        who = reader()
        found = wanted_currency(chosen, (who.language, who.territory), rates) if rates else None
        g.purse = Purse(rates, found)
    return cast(Purse, g.purse)


def money(price: Decimal | float | str | None, currency: str | None) -> str:
    """Filter: the price as the reader writes it, in the reader's currency, with ``≈`` when converted."""
    if price is None:
        return ""
    amount, mine = Decimal(str(price)), purse()
    if currency is None:
        return format(amount, "f")
    if mine.rates is not None and mine.currency is not None:
        found = mine.rates.convert(amount, currency, mine.currency)
        if found is not None:
            mine.days.add(found.rates_date)
            return "≈\N{NO-BREAK SPACE}" + written(found.amount, found.currency)
    return written(amount, currency)


def written(amount: Decimal, currency: str) -> str:
    """Return an amount with CLDR's sign, digits and order for the reader."""
    # CLDR sets a space between letters and digits ("KWD 3.500"); Babel leaves it out.
    return _SIGN_MEETS_DIGIT.sub(
        "\N{NO-BREAK SPACE}", format_currency(amount, currency, locale=reader().locale)
    )


def rates_note() -> str:
    """Return the sentence on the rates' day, empty while no price above it was converted."""
    days = purse().days
    if not days:
        return ""
    day = format_date(min(days), "long", locale=reader().locale)
    note: str = _(
        "Prices marked ≈ are converted with the rates of %(date)s. The shop's own price counts.", date=day
    )
    return note


def currencies() -> dict[str, str]:
    """Return what the switch offers: code to the reader's name for it, by code."""
    mine = purse()
    known = sorted(mine.rates.currencies) if mine.rates else []
    return {code: get_currency_name(code, locale=reader().locale) for code in known}


def handle_money(app: Flask, book: RatesBook) -> None:
    """Give the application money: the filter, the switch and its cookie, the note."""
    app.extensions[_EXTENSION] = book
    app.jinja_env.filters["money"] = money
    app.jinja_env.globals["rates_note"] = rates_note

    @app.context_processor
    def _of_reader() -> dict[str, object]:
        return {"currencies": currencies, "currency": purse().currency}

    @app.after_request
    def _remember(response: Response) -> Response:
        code = request.args.get(ARGUMENT)
        if response.mimetype == "text/html" and (code == OWN or code in currencies()):
            keep(response, COOKIE, code)
        return response


def rates_in_force() -> Rates | None:
    """Return the rates as they are now; None when they cannot be read."""
    return cast(RatesBook, current_app.extensions[_EXTENSION]).rates()
