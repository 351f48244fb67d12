"""Rates between currencies: one file with its dates and sources, and exact sums with it.

The file that ships is written down by hand and says so; ``vitrine rates update`` puts a fresh one into
the data folder, which wins. A rate is what one unit of the base buys.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as Day
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Annotated, Any

from babel.numbers import get_currency_precision, list_currencies
from pydantic import Field, ValidationError, field_validator, model_validator

from shared.contracts.base import Contract, Currency
from shared.errors import InvalidInput
from shared.process.log import get_logger

log = get_logger("vitrine.money")

SHIPPED = Path(__file__).parent / "rates.json"
MAX_BYTES = 1_000_000
Rate = Annotated[Decimal, Field(gt=0, allow_inf_nan=False, max_digits=24)]


class Table(Contract):
    """Rates of one day from one source."""

    date: Day
    source: str = Field(min_length=1, max_length=500)
    rates: dict[Currency, Rate] = Field(min_length=1)

    @field_validator("date")
    @classmethod
    def _has_been(cls, day: Day) -> Day:
        if day > datetime.now(UTC).date():
            raise ValueError(f"{day} is in the future")
        return day

    @field_validator("rates")
    @classmethod
    def _exist(cls, rates: dict[str, Decimal]) -> dict[str, Decimal]:
        if unknown := sorted(set(rates) - list_currencies()):
            raise ValueError(f"there is no currency {', '.join(unknown)}")
        return rates


@dataclass(frozen=True)
class Sum:
    """An amount of money after a conversion, and the day of the oldest rate that it took."""

    amount: Decimal
    currency: str
    rates_date: Day


class Rates(Contract):
    """All rates known; where tables have the same currency, the first counts."""

    base: Currency
    tables: tuple[Table, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _base_is_one(self) -> Rates:
        for table in self.tables:
            if table.rates.get(self.base, Decimal(1)) != 1:
                raise ValueError(f"the rate of the base {self.base} is 1")
        return self

    @property
    def currencies(self) -> frozenset[str]:
        return frozenset((self.base, *(code for table in self.tables for code in table.rates)))

    def convert(self, amount: Decimal, source: str, target: str) -> Sum | None:
        """Return the amount in another currency, with the digits that it is paid in.

        None: a rate is missing, or nothing needs converting.
        """
        if source == target:
            return None
        sold, bought = self._rate(source), self._rate(target)
        if sold is None or bought is None:
            return None
        unit = Decimal(1).scaleb(-get_currency_precision(target))
        exact = amount * bought[0] / sold[0]
        return Sum(exact.quantize(unit, ROUND_HALF_EVEN), target, min(sold[1], bought[1]))

    def _rate(self, currency: str) -> tuple[Decimal, Day] | None:
        """The rate and its day; that of the base is true on every day."""
        if currency == self.base:
            return Decimal(1), Day.max
        return next(((t.rates[currency], t.date) for t in self.tables if currency in t.rates), None)

    def updated(self, new: Table) -> Rates:
        """Return the rates with a new table first; what it lacks keeps its own date and source."""
        seen = set(new.rates)
        kept = []
        for table in self.tables:
            left = {code: rate for code, rate in table.rates.items() if code not in seen}
            seen.update(left)
            if left:
                kept.append(table.model_copy(update={"rates": left}))
        return Rates(base=self.base, tables=(new, *kept))


def read_rates(data: bytes) -> Rates:
    """Read our own form: ``{"base", "tables": [{"date", "source", "rates"}]}``, or one table with its base.

    Raises:
        InvalidInput: it is not that; the message says where.
    """
    try:
        document = json.loads(data, parse_float=Decimal, parse_constant=_no_number)
        if isinstance(document, dict) and "rates" in document:
            base = document.pop("base", None)
            document = {"base": base, "tables": [document]}
        return Rates.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"The rates are wrong: {place or 'file'}: {reason}.", "rates") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The rates are not JSON: {error}.", "rates") from error


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no rate")


def convert_prices(result: dict[str, Any], currency: str, rates: Rates) -> dict[str, Any]:
    """Return the JSON of a SearchResult with its prices in another currency, where there is a rate.

    A converted price keeps the shop's own beside it; ``rates_date`` is that of the oldest rate used.
    """
    days: list[Day] = []

    def of(hit: dict[str, Any]) -> dict[str, Any]:
        price, own = hit.get("price"), hit.get("currency")
        if price is None or own is None or (found := rates.convert(Decimal(price), own, currency)) is None:
            return hit
        days.append(found.rates_date)
        return {
            **hit,
            "price": str(found.amount),
            "currency": found.currency,
            "price_original": price,
            "currency_original": own,
        }

    def group(part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "hits": [of(hit) for hit in part["hits"]]}

    objects, whole = [group(part) for part in result["objects"]], group(result["whole"])
    return {
        **result,
        "objects": objects,
        "whole": whole,
        "rates_date": str(min(days)) if days else None,
    }


class RatesBook:
    """The rates in force: those of the data folder when they are there, else the shipped ones.

    Args:
        override: the file that ``vitrine rates update`` writes; a changed file is seen at the next call.
    """

    def __init__(self, override: Path) -> None:
        self.override = override
        self._stamp: tuple[Path, float, int] | None = None
        self._rates: Rates | None = None

    def rates(self) -> Rates | None:
        """Return them, or None when the file cannot be read: then prices stay as the shop has them."""
        path, stamp = self._place()
        if stamp != self._stamp:
            self._rates, self._stamp = _read(path), stamp
        return self._rates

    def _place(self) -> tuple[Path, tuple[Path, float, int]]:
        for path in (self.override, SHIPPED):
            try:
                seen = path.stat()
            except OSError:
                continue
            return path, (path, seen.st_mtime, seen.st_size)
        return SHIPPED, (SHIPPED, math.nan, 0)


def _read(path: Path) -> Rates | None:
    try:
        return read_rates(path.read_bytes())
    except (OSError, InvalidInput) as error:
        log.error("rates not usable: prices are not converted", path=str(path), reason=str(error))
        return None


def missing(rates: Rates, in_use: Iterable[str]) -> list[str]:
    """Return the currencies in use that have no rate."""
    return sorted(set(in_use) - rates.currencies)
