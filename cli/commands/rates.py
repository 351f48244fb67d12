"""`vitrine rates`: show and update exchange rates."""

from __future__ import annotations

import click
from rich.table import Table as Lines

from cli.output import json_option, print_json, stderr_console, stdout_console
from shared.catalogue.store import CatalogueStore
from shared.database.revisions import current_revision, require_schema
from shared.errors import Misconfigured
from shared.factories import open_database
from shared.money.rate_sources import read_source, updated, write_rates
from shared.money.rates import Rates, RatesBook
from shared.settings import Settings, get_settings

#: Daily rates of the European Central Bank; another address is the command's argument.
_RATES_URL = "https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml"


@click.group(epilog="Example: vitrine rates show")
def rates() -> None:
    """Show and update exchange rates. Run it on the host of the web, which reads them."""


@rates.command(epilog="Example: vitrine rates show --json")
@json_option
def show(as_json: bool) -> None:
    """Print the current rates with their dates and sources."""
    settings = get_settings()
    found = RatesBook(settings.rates_path).rates()
    if found is None:
        raise Misconfigured(f"{settings.rates_path} has no valid rates: correct or delete it.")
    _print(found, as_json)


@rates.command(epilog="Example: vitrine rates update    or: vitrine rates update rates.json")
@click.argument("source", metavar="[FILE-OR-URL]", required=False)
@json_option
def update(source: str | None, as_json: bool) -> None:
    """Read new rates from a file or address; by default from the European Central Bank.

    The formats are the bank's daily XML and the JSON of `vitrine rates show --json`. Currencies that the
    source lacks keep their rates and dates. Nothing changes if a rate is invalid.
    """
    settings = get_settings()
    new = read_source(source or _RATES_URL)
    found = updated(RatesBook(settings.rates_path).rates(), new, _in_use(settings))
    write_rates(settings.rates_path, found)
    stderr_console().print(f"Written to {settings.rates_path}; pages take it from now on.", soft_wrap=True)
    _print(found, as_json)


def _in_use(settings: Settings) -> set[str]:
    database = open_database(settings)
    try:
        if current_revision(database) is None:
            return set()  # rates may be fetched before the first start
        require_schema(database)
        return CatalogueStore(database).currencies()
    finally:
        database.close()


def _print(found: Rates, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    lines = Lines("currency", f"for 1 {found.base}", "date", "source", box=None)
    for table in found.tables:
        for code in sorted(table.rates):
            lines.add_row(code, str(table.rates[code]), str(table.date), table.source)
    stdout_console().print(lines)
