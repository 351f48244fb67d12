"""Rates from the bank's XML, our own JSON, files and addresses; `vitrine rates`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands.rates import rates as command
from shared.catalogue.store import CatalogueStore
from shared.database import Database
from shared.database.migrate import migrate
from shared.errors import InvalidInput, Refused, VitrineError
from shared.money.rate_sources import read_ecb, read_source, updated
from shared.money.rates import MAX_BYTES, RatesBook, Table, read_rates
from shared.settings import get_settings

ECB = """<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
  <gesmes:subject>Reference rates</gesmes:subject>
  <Cube><Cube time='2026-01-02'><Cube currency='USD' rate='1.1721'/>
    <Cube currency='JPY' rate='183.5'/></Cube></Cube>
</gesmes:Envelope>"""


def test_the_banks_daily_file_is_read() -> None:
    found = read_ecb(ECB.encode())
    assert found.base == "EUR"
    assert found.tables[0].date == date(2026, 1, 2)
    assert "European Central Bank" in found.tables[0].source
    assert found.tables[0].rates == {"USD": Decimal("1.1721"), "JPY": Decimal("183.5")}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("'1.1721'", "'0'", "USD"),
        ("'1.1721'", "'-1'", "USD"),
        ("'1.1721'", "'NaN'", "USD"),
        ("'USD'", "'ZZZ'", "ZZZ"),
        ("'JPY'", "'USD'", "more than one day"),
        ("2026-01-02", "2999-01-02", "future"),
        (" time='2026-01-02'", "", "single day"),
        ("</gesmes:Envelope>", "", "not XML"),
        (
            "<gesmes:Envelope ",
            '<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><gesmes:Envelope ',
            "document type",
        ),
        ("<gesmes:Envelope ", '<!DOCTYPE x SYSTEM "file:///etc/passwd"><gesmes:Envelope ', "document type"),
    ],
)
def test_a_wrong_file_of_the_bank_is_refused(old: str, new: str, words: str) -> None:
    assert old in ECB
    with pytest.raises(InvalidInput, match=words):
        read_ecb(ECB.replace(old, new).encode())


def test_addresses_go_through_the_fetcher_that_stays_out_of_private_networks(tmp_path: Path) -> None:
    for address in ("http://127.0.0.1/rates.xml", "http://169.254.169.254/latest", "http://[::1]/"):
        with pytest.raises(Refused) as caught:
            read_source(address)
        assert caught.value.field == "rates"
    with pytest.raises(VitrineError):
        read_source(str(tmp_path / "missing.xml"))
    (tmp_path / "long.json").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(InvalidInput, match="more than"):
        read_source(str(tmp_path / "long.json"))


def test_older_rates_another_base_and_a_currency_in_use_that_would_be_lost_are_refused() -> None:
    new = read_ecb(ECB.encode())
    later = new.model_copy(update={"tables": (Table(date=date(2026, 2, 2), source="x", rates={"USD": 1}),)})
    with pytest.raises(InvalidInput, match="older than"):
        updated(later, new, set())
    with pytest.raises(InvalidInput, match="rates is USD; that of the present ones is EUR"):
        updated(later, new.model_copy(update={"base": "USD"}), set())
    with pytest.raises(InvalidInput, match="lack UAH"):
        updated(None, new, {"USD", "UAH"})
    assert updated(None, new, {"USD", "EUR"}) == new
    assert updated(new, later, {"JPY"}).currencies == {"EUR", "USD", "JPY"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("VITRINE_DATA_DIR", str(tmp_path / "data"))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def test_the_command_writes_what_pages_then_read(folder: Path) -> None:
    (folder / "ecb.xml").write_text(ECB)
    done = CliRunner().invoke(command, ["update", str(folder / "ecb.xml"), "--json"])
    assert done.exit_code == 0, done.output
    book = RatesBook(folder / "data" / "rates.json").rates()
    assert book is not None
    assert book == read_rates(done.stdout.encode())
    assert str(book.tables[0].date) == "2026-01-02"
    # What the bank does not have stays, with the date of the file that shipped.
    assert "UAH" in book.tables[1].rates
    assert "USD" not in book.tables[1].rates
    assert book.tables[1].date < book.tables[0].date
    shown = CliRunner().invoke(command, ["show", "--json"])
    assert json.loads(shown.stdout) == json.loads(done.stdout)
    assert "1.1721" in CliRunner().invoke(command, ["show"]).stdout


def test_the_command_keeps_what_is_there_when_a_currency_in_use_has_no_rate(folder: Path) -> None:
    settings = get_settings()
    migrate(database := Database(settings.database_url))
    CatalogueStore(database).create("shop", "ISK")
    database.close()
    settings.rates_path.write_text(
        json.dumps({"base": "EUR", "date": "2026-01-01", "source": "test", "rates": {"USD": "1"}})
    )
    before = settings.rates_path.read_bytes()
    (folder / "ecb.xml").write_text(ECB)
    done = CliRunner().invoke(command, ["update", str(folder / "ecb.xml")])
    assert isinstance(done.exception, InvalidInput)
    assert "lack ISK" in str(done.exception)
    assert settings.rates_path.read_bytes() == before
    assert [path.name for path in settings.rates_path.parent.glob("*rates*")] == ["rates.json"]
