"""Exchange rates with dates and sources, and exact conversion.

The shipped file was written manually and is marked so. ``vitrine rates update`` writes a newer one into the
data folder, which takes precedence. A rate is the amount of a currency per unit of the base.
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
    """A converted amount of money, and the day of the oldest rate used."""

    amount: Decimal
    currency: str
    rates_date: Day


class Rates(Contract):
    """Tables of rates; if several have a currency, the first one counts."""

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
        """Convert an amount, rounded to the digits of the target currency.

        Returns None if a rate is missing or both currencies are equal.
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
        """Return the rate and its day; the rate of the base has the latest possible day."""
        if currency == self.base:
            return Decimal(1), Day.max
        return next(((t.rates[currency], t.date) for t in self.tables if currency in t.rates), None)

    def updated(self, new: Table) -> Rates:
        """Return the rates with a new table first; other currencies keep their dates and sources."""
        seen = set(new.rates)
        remaining = []
        for table in self.tables:
            left = {code: rate for code, rate in table.rates.items() if code not in seen}
            seen.update(left)
            if left:
                remaining.append(table.model_copy(update={"rates": left}))
        return Rates(base=self.base, tables=(new, *remaining))


def read_rates(data: bytes) -> Rates:
    """Parse our own format: ``{"base", "tables": [{"date", "source", "rates"}]}``, or one table with a base.

    Raises:
        InvalidInput: the data has another format; the message has the position.
    """
    try:
        document = json.loads(data, parse_float=Decimal, parse_constant=_no_number)
        if isinstance(document, dict) and "rates" in document:
            base = document.pop("base", None)
            document = {"base": base, "tables": [document]}
        return Rates.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"The rates are invalid: {field or 'file'}: {reason}.", "rates") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The rates are not JSON: {error}.", "rates") from error


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no rate")


def convert_prices(result: dict[str, Any], currency: str, rates: Rates) -> dict[str, Any]:
    """Convert the prices in the JSON of a SearchResult, as far as there are rates.

    The shop's own price is added to a converted one; ``rates_date`` is that of the oldest rate used.
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
    """The current rates: those of the data folder if they exist, else the shipped ones.

    Args:
        override: the file that ``vitrine rates update`` writes; a changed file is read at the next call.
    """

    def __init__(self, override: Path) -> None:
        self.override = override
        self._stamp: tuple[Path, float, int] | None = None
        self._rates: Rates | None = None

    def rates(self) -> Rates | None:
        """Return the rates, or None if the file cannot be read; prices are then not converted."""
        path, stamp = self._current_file()
        if stamp != self._stamp:
            self._rates, self._stamp = _read(path), stamp
        return self._rates

    def _current_file(self) -> tuple[Path, tuple[Path, float, int]]:
        for path in (self.override, SHIPPED):
            try:
                status = path.stat()
            except OSError:
                continue
            return path, (path, status.st_mtime, status.st_size)
        return SHIPPED, (SHIPPED, math.nan, 0)


def _read(path: Path) -> Rates | None:
    try:
        return read_rates(path.read_bytes())
    except (OSError, InvalidInput) as error:
        log.error("rates not usable: prices are not converted", path=str(path), reason=str(error))
        return None


def missing(rates: Rates, in_use: Iterable[str]) -> list[str]:
    """Return the currencies in use without a rate."""
    return sorted(set(in_use) - rates.currencies)
