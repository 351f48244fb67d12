"""Rates, exact sums with them, and what a price looks like to a reader."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.money.rates import SHIPPED, Rates, RatesBook, Table, read_rates
from tests.web_builders import Shop, open_shop
from web.i18n.money import OWN, choose_currency, format_price, rates_note

DAY = "2026-01-02"


def rates(day: str = DAY, source: str = "test", **found: str) -> Rates:
    document = {"base": "EUR", "date": day, "source": source, "rates": found}
    return read_rates(json.dumps(document).encode())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    document = {"USD": "1.10", "JPY": "160", "KWD": "0.35", "INR": "100", "CHF": "0.95", "SEK": "11"}
    (tmp_path / "rates.json").write_text(rates(**document).model_dump_json())
    return open_shop(tmp_path)


def test_the_shipped_rates_are_many_dated_and_say_that_they_are_approximate() -> None:
    shipped = read_rates(SHIPPED.read_bytes())
    assert len(shipped.currencies) >= 38
    assert "pproximate" in shipped.tables[0].source
    assert shipped.tables[0].date < datetime.now(UTC).date()


@pytest.mark.parametrize(
    ("amount", "source", "target", "result"),
    [
        ("100", "EUR", "USD", "110.00"),
        ("110", "USD", "EUR", "100.00"),
        ("10", "USD", "JPY", "1455"),  # 10 / 1.1 * 160 = 1454.54...
        ("1", "EUR", "KWD", "0.350"),
        ("0.005", "EUR", "EUR", None),
        ("1", "EUR", "NOK", None),
        # Half to even, exactly: in binary floats 1.005 is less than it says.
        ("1.005", "EUR", "SEK", "11.06"),
        ("0.15", "EUR", "XTS", None),  # ISO 4217: for tests, no currency
        ("99999999999999.9999", "EUR", "USD", "110000000000000.00"),
    ],
)
def test_sums_are_exact_and_have_the_digits_of_their_currency(
    amount: str, source: str, target: str, result: str | None
) -> None:
    found = rates(USD="1.10", JPY="160", KWD="0.35", SEK="11").convert(Decimal(amount), source, target)
    assert (str(found.amount) if found else None) == result


def test_a_new_table_keeps_what_it_lacks_with_its_own_day() -> None:
    old = rates(USD="1", UAH="45")
    new = Table(date=date(2026, 3, 4), source="bank", rates={"USD": Decimal("1.2"), "CHF": Decimal("0.9")})
    both = old.updated(new)
    assert both.currencies == {"EUR", "USD", "CHF", "UAH"}
    fresh, mixed = both.convert(Decimal(1), "EUR", "USD"), both.convert(Decimal(1), "CHF", "UAH")
    assert fresh
    assert mixed
    assert (fresh.amount, fresh.rates_date) == (Decimal("1.20"), date(2026, 3, 4))
    assert (mixed.amount, mixed.rates_date) == (Decimal("50.00"), date(2026, 1, 2))
    assert read_rates(both.model_dump_json().encode()) == both
    assert both.updated(new) == both


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rates": {"USD": "0"}}, "USD"),
        ({"rates": {"USD": "-1"}}, "USD"),
        ({"rates": {"USD": "NaN"}}, "USD"),
        ({"rates": {"USD": "Infinity"}}, "USD"),
        ({"rates": {"USD": "much"}}, "USD"),
        ({"rates": {"usd": "1"}}, "usd"),
        ({"rates": {"ZZZ": "1"}}, "no currency ZZZ"),
        ({"rates": {"EUR": "2"}}, "base EUR is 1"),
        ({"rates": {}}, "rates"),
        ({"date": "yesterday"}, "date"),
        ({"date": str(datetime.now(UTC).date() + timedelta(days=7))}, "future"),
        ({"base": None}, "base"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_rates_are_refused_by_name(change: dict[str, object], words: str) -> None:
    document = {"base": "EUR", "date": DAY, "source": "test", "rates": {"USD": "1.1"}, **change}
    with pytest.raises(InvalidInput, match=words):
        read_rates(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"NaN", b'"rates"', b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_rates(data)


def test_the_data_folder_wins_and_a_change_is_seen_at_once(tmp_path: Path) -> None:
    file = tmp_path / "rates.json"
    book = RatesBook(file)
    shipped = book.rates()
    assert shipped is not None
    assert len(shipped.currencies) >= 38
    file.write_text(rates(USD="2").model_dump_json())
    assert book.rates() == rates(USD="2")
    file.write_text("{broken")
    assert book.rates() is None
    file.write_text(rates(USD="3", SEK="11").model_dump_json())
    os.utime(file, ns=(1, 1))
    assert book.rates() == rates(USD="3", SEK="11")


@pytest.mark.parametrize(
    ("chosen", "place", "code"),
    [
        ([], ("en", None), None),
        ([], ("en", "US"), "USD"),
        ([], ("de", None), None),
        ([], ("de", "CH"), "CHF"),
        ([], ("ja", None), "JPY"),
        ([], ("sv", "FI"), "EUR"),
        ([], ("es", "419"), None),
        ([], ("nb", "NO"), None),  # no rate: as the shop has it
        (["USD"], ("ja", "JP"), "USD"),
        ([OWN, "USD"], ("ja", "JP"), None),
        (["XTS", "CHF"], ("ja", "JP"), "CHF"),  # ISO 4217: for tests, no currency
        ([None, "'; --"], ("ja", "JP"), "JPY"),
    ],
)
def test_which_currency(chosen: list[str | None], place: tuple[str, str | None], code: str | None) -> None:
    assert choose_currency(chosen, place, rates(USD="1.1", CHF="0.9", JPY="160", SEK="11")) == code


@pytest.mark.parametrize(
    ("tag", "wanted", "price", "text"),
    [
        ("en", OWN, "1069.00", "€1,069.00"),
        ("en-US", "", "1069.00", "≈\u00a0$1,175.90"),
        ("de", OWN, "1069.00", "1.069,00\u00a0€"),
        ("de-CH", "", "1069.00", "≈\u00a0CHF\u00a01’015.55"),
        ("fr", OWN, "1069.5", "1\u202f069,50\u00a0€"),
        ("sv", "", "10", "≈\u00a0110,00\u00a0kr"),
        ("ja", "", "1069.00", "≈\u00a0￥171,040"),
        ("en-IN", "", "1069.00", "≈\u00a0₹1,06,900.00"),
        ("ar", "KWD", "10", "≈\u00a0\u200f3.500\u00a0د.ك.\u200f"),
        ("en", "KWD", "10", "≈\u00a0KWD\u00a03.500"),
        ("pt-BR", OWN, "0.5", "€\u00a00,50"),
    ],
)
def test_what_a_price_looks_like(shop: Shop, tag: str, wanted: str, price: str, text: str) -> None:
    query = f"/?currency={wanted}" if wanted else "/"
    with shop.app.test_request_context(query, headers={"Accept-Language": tag}):
        assert format_price(Decimal(price), "EUR") == text


def test_the_note_says_the_day_once_a_price_was_converted(shop: Shop) -> None:
    with shop.app.test_request_context("/?currency=USD", headers={"Accept-Language": "en"}):
        assert format_price(Decimal(1), "USD") == "$1.00"
        assert format_price(None, "EUR") == ""
        assert format_price(Decimal("1.5"), None) == "1.5"
        assert rates_note() == ""
        assert format_price(Decimal(1), "EUR") == "≈\u00a0$1.10"
        assert "January 2, 2026" in rates_note()


def test_with_broken_rates_prices_stay_as_the_shop_has_them(shop: Shop) -> None:
    shop.settings.rates_path.write_text("{")
    page = shop.client.get("/?currency=USD")
    assert page.status_code == 200
    assert "Set-Cookie" not in page.headers
    with shop.app.test_request_context("/?currency=USD"):
        assert format_price(Decimal(1), "EUR") == "€1.00"


def test_the_switch_is_kept_in_a_cookie(shop: Shop) -> None:
    client = shop.client
    first = client.get("/?currency=JPY", headers={"Accept-Language": "en-US"})
    assert first.headers["Set-Cookie"].startswith("vitrine_currency=JPY;")
    assert '<option value="JPY" selected>JPY · Japanese Yen</option>' in first.text
    again = client.get("/", headers={"Accept-Language": "de-CH"})
    assert '<option value="JPY" selected>JPY · Japanischer Yen</option>' in again.text
    own = client.get("/?currency=own")
    assert '<option value="own" selected>' in own.text
    assert '<option value="own" selected>' in client.get("/").text
    assert "Set-Cookie" not in client.get("/?currency=ZZZ").headers
