"""Show prices in the reader's currency, with a note on the date of the rates."""

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
from web.i18n import reader, set_preference_cookie

COOKIE = "vitrine_currency"
ARGUMENT = "currency"
#: Choice of the shop's own currency, without conversion.
OWN = "own"
_EXTENSION = "vitrine-rates"
_LETTER_NEXT_TO_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
#: Territories of languages spoken mainly in one; other languages imply none.
_TERRITORIES = {
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
class PriceContext:
    """Price conversion state of one request.

    Attributes:
        currency: target currency; None: no conversion.
        days: dates of the rates used so far.
    """

    rates: Rates | None
    currency: str | None
    days: set[date] = field(default_factory=set)


def choose_currency(chosen: list[str | None], locale_of: tuple[str, str | None], rates: Rates) -> str | None:
    """Choose a currency: the reader's choice, else that of the territory, else None.

    Args:
        chosen: currency switch values, newest first, including OWN.
        locale_of: language, and territory or None.
    """
    for code in chosen:
        if code == OWN:
            return None
        if code in rates.currencies:
            return code
    language, territory = locale_of
    territory = territory or _TERRITORIES.get(language)
    used = get_territory_currencies(territory) if territory else []
    return next((code for code in used if code in rates.currencies), None)


def price_context() -> PriceContext:
    """Return the price context of the current request."""
    if "price_context" not in g:
        rates = current_rates()
        chosen = [request.args.get(ARGUMENT), request.cookies.get(COOKIE)]
        current = reader()
        found = choose_currency(chosen, (current.language, current.territory), rates) if rates else None
        g.price_context = PriceContext(rates, found)
    return cast(PriceContext, g.price_context)


def format_price(price: Decimal | float | str | None, currency: str | None) -> str:
    """Filter: format a price in the reader's currency and locale, with ``≈`` if converted."""
    if price is None:
        return ""
    amount, context = Decimal(str(price)), price_context()
    if currency is None:
        return format(amount, "f")
    if context.rates is not None and context.currency is not None:
        converted = context.rates.convert(amount, currency, context.currency)
        if converted is not None:
            context.days.add(converted.rates_date)
            return "≈\N{NO-BREAK SPACE}" + format_amount(converted.amount, converted.currency)
    return format_amount(amount, currency)


def format_amount(amount: Decimal, currency: str) -> str:
    """Format an amount with CLDR's symbol, digits and order for the reader."""
    # CLDR puts a space between letters and digits ("KWD 3.500"), which Babel omits.
    return _LETTER_NEXT_TO_DIGIT.sub(
        "\N{NO-BREAK SPACE}", format_currency(amount, currency, locale=reader().locale)
    )


def shown_currency(currency: str) -> str:
    """Return the currency in which prices of this currency are shown to the reader."""
    context = price_context()
    if context.rates is None or context.currency is None or not currency:
        return currency
    return context.currency if context.rates.convert(Decimal(1), currency, context.currency) else currency


def convert_amount(amount: Decimal, source: str, target: str) -> Decimal | None:
    """Convert an amount; return None if it is in that currency already or there is no rate."""
    rates = current_rates()
    converted = rates.convert(amount, source, target) if rates else None
    return converted.amount if converted else None


def rates_note() -> str:
    """Return the note on the rates' date; empty while no price was converted."""
    days = price_context().days
    if not days:
        return ""
    day = format_date(min(days), "long", locale=reader().locale)
    note: str = _(
        "Prices marked ≈ are converted at the rates of %(date)s. The shop's own price applies.", date=day
    )
    return note


def list_currencies() -> dict[str, str]:
    """Return the currencies of the switch: code to name in the reader's language."""
    rates = price_context().rates
    codes = sorted(rates.currencies) if rates else []
    return {code: get_currency_name(code, locale=reader().locale) for code in codes}


def register_prices(app: Flask, book: RatesBook) -> None:
    """Register the price filter, the currency switch and the note on rates."""
    app.extensions[_EXTENSION] = book
    app.jinja_env.filters["price"] = format_price
    app.jinja_env.globals["rates_note"] = rates_note

    @app.context_processor
    def _of_reader() -> dict[str, object]:
        return {"currencies": list_currencies, "currency": price_context().currency}


def remember_currency(response: Response) -> Response:
    """Store the reader's choice of a currency in a cookie."""
    code = request.args.get(ARGUMENT)
    if code and response.mimetype == "text/html" and (code == OWN or code in list_currencies()):
        set_preference_cookie(response, COOKIE, code)
    return response


def current_rates() -> Rates | None:
    """Return the current rates; None if they cannot be read."""
    return cast(RatesBook, current_app.extensions[_EXTENSION]).rates()
