"""Prices as texts: ``1.299,00`` and ``1,299.00`` are distinguished by all prices of a file together."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from shared.imports.values import SHARED_SIGNS, SIGNS, currency_decimals, to_currency

Point = Literal[".", ","]
#: Between groups of digits, besides point and comma: spaces of all widths, and Swiss apostrophes.
_GROUPING: Final = re.compile(r"(?<=\d)[\s\u00a0\u2009\u202f'\u2019](?=\d{3}(?!\d))")
_AMOUNT: Final = re.compile(r"\d[\d.,]*")
#: ``129,-`` and ``129.--`` are whole amounts.
_WHOLE: Final = re.compile(r"[.,][-\u2013\u2014]{1,2}$")
_MAX_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Amount:
    """A price as it is written, before it is known what its point and comma mean.

    Attributes:
        digits: digits, points and commas.
        currency: code, None where none is written.
        sign: a sign that several currencies share.
    """

    digits: str
    currency: str | None = None
    sign: str | None = None


@dataclass
class PriceStyle:
    """What a file's prices prove about its decimal point.

    Attributes:
        proofs: prices that can be read in one way only, counted by their decimal point.
        examples: number of the row and text of the first proof of each.
    """

    proofs: Counter[Point] = field(default_factory=Counter)
    examples: dict[Point, tuple[int, str]] = field(default_factory=dict)

    def add(self, number: int, value: Any) -> None:
        """Count the price of a row as evidence, if it is a text that proves anything."""
        if not isinstance(value, str):
            return
        try:
            point = proven_point(split_amount(value).digits)
        except ValueError:
            return
        if point is not None:
            self.proofs[point] += 1
            self.examples.setdefault(point, (number, value.strip()[:_MAX_CHARS]))

    @property
    def point(self) -> Point | None:
        """The decimal point of the file; None where no price proves it, or as many prove either."""
        if self.proofs["."] == self.proofs[","]:
            return None
        return "." if self.proofs["."] > self.proofs[","] else ","

    def read(self, value: Any, currency: str) -> tuple[Decimal, Amount]:
        """Return the amount of a price.

        Args:
            currency: of the price if it names none.

        Raises:
            ValueError: with a sentence that says what to write.
        """
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise _unclear(value)
        if not isinstance(value, str):
            return _decimal(repr(value) if isinstance(value, float) else str(value), value), Amount("")
        amount = split_amount(value)
        decimals = currency_decimals(amount.currency or currency)
        return _decimal(self._plain(amount.digits, value, decimals), value), amount

    def _plain(self, digits: str, value: str, decimals: int) -> str:
        """Return the digits with a decimal point and no groups."""
        if "." not in digits and "," not in digits:
            return digits
        proven = proven_point(digits)
        if self.proofs["."] and self.proofs[","] and self.point is None:
            raise ValueError(f"price: {value[:_MAX_CHARS]!r}: {self._both()}")
        point = self.point or proven
        if point is None and decimals == 3 and "." in digits:
            point = "."  # dinars are written with three decimals, and all of the file have a point
        if point is None and decimals == 0 and "," in digits:
            point = "."  # 12,800 yen: a currency without decimals has no decimal comma
        if point is None:
            short, long = digits.replace(",", "."), digits.replace(",", "").replace(".", "")
            raise ValueError(
                f"price: {value[:_MAX_CHARS]!r} may mean {short} or {long}, and no other price of the file "
                f"tells which: write {long}.00 for the larger one, or at most two decimals."
            )
        if proven is not None and proven != point:
            row, text = self.examples[point]
            name = "point" if point == "." else "comma"
            raise ValueError(
                f"price: {value[:_MAX_CHARS]!r}: the prices of this file have a decimal {name} (row {row}: "
                f"{text!r}): write this one in the same way."
            )
        return digits.replace("," if point == "." else ".", "").replace(point, ".")

    def _both(self) -> str:
        (row, text), (other, other_text) = self.examples["."], self.examples[","]
        return (
            f"this file writes prices in two ways (row {row}: {text!r}, row {other}: {other_text!r}): write "
            "all with a decimal point, such as 1299.00."
        )


def split_amount(text: str) -> Amount:
    """Take a price apart. Raises ValueError with a sentence."""
    plain = _GROUPING.sub("", text.strip()).replace(":-", ",-")  # as Sweden writes whole amounts
    found = _AMOUNT.search(plain)
    if found is None or len(plain) > _MAX_CHARS:
        raise _unclear(text)
    digits = found[0]
    rest = plain[found.end() :]
    whole = _WHOLE.match(digits[-1:] + rest.split(" ")[0]) if digits[-1:] in ".," else None
    if whole is not None:
        point, digits, rest = digits[-1], digits[:-1], rest[whole.end() - 1 :]
        if digits.count("," if point == "." else "."):
            digits += f"{point}0"  # 1.299,- proves its point, as 1.299,00 does
    words = f"{plain[: found.start()]} {rest}".strip()
    if digits[-1:] in (".", ",") or re.search(r"[.,]{2}", digits):
        raise _unclear(text)
    if not words:
        return Amount(digits)
    if words in SHARED_SIGNS:
        return Amount(digits, None, words)
    if words in SIGNS or words.replace(".", "").replace("$", "").isalpha():
        try:
            return Amount(digits, to_currency(words))
        except ValueError:
            raise _unclear(text) from None
    raise _unclear(text)


def proven_point(digits: str) -> Point | None:
    """Return the decimal point that a price must have, None if it may be read in two ways.

    Raises:
        ValueError: it can be read in no way.
    """
    dots, commas = digits.count("."), digits.count(",")
    if dots == commas == 0:
        return None
    if dots and commas:
        point: Point = "." if digits.rindex(".") > digits.rindex(",") else ","
        whole, _, _ = digits.rpartition(point)
        if point in whole or not _is_grouped(whole, "," if point == "." else "."):
            raise _unclear(digits)
        return point
    sign: Point = "." if dots else ","
    other: Point = "," if dots else "."
    if dots + commas > 1:
        if not _is_grouped(digits, sign):
            raise _unclear(digits)
        return other
    whole, _, decimals = digits.partition(sign)
    if len(decimals) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0":
        return None
    return sign


def _is_grouped(digits: str, sign: str) -> bool:
    first, *groups = digits.split(sign)
    if sign == "," and len(groups) > 1 and [len(g) for g in groups[:-1]] == [2] * (len(groups) - 1):
        return 1 <= len(first) <= 2 and len(groups[-1]) == 3  # lakh and crore of India: 1,29,999
    return 1 <= len(first) <= 3 and all(len(group) == 3 for group in groups)


def check_decimals(price: Decimal, currency: str) -> None:
    """Raise ValueError if a price has more decimals than its currency."""
    count = currency_decimals(currency)
    exponent = price.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > count:
        what = "no decimals" if count == 0 else f"{count} decimals"
        raise ValueError(f"price: {price} has more decimals than {currency}, which has {what}: round it.")


def _decimal(text: str, value: Any) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise _unclear(value) from None
    if not price.is_finite() or price < 0:
        raise ValueError(f"price: {str(value)[:_MAX_CHARS]!r} is no price: it is a number of 0 or more.")
    return price


def _unclear(value: Any) -> ValueError:
    return ValueError(
        f"price: {str(value)[:_MAX_CHARS]!r} is no price: write it as 1299.00, with the currency in a column "
        "of its own or behind it (1299.00 EUR)."
    )
