"""Where rates come from: a file or a web address, in the European Central Bank's form or our own."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from xml.parsers import expat

from pydantic import ValidationError

from shared.errors import InvalidInput, StorageUnavailable, VitrineError
from shared.money.rates import MAX_BYTES, Rates, Table, missing, read_rates
from shared.net.url_fetch import fetch
from shared.storage.durable import write_durably

FIELD = "rates"
_ECB = "European Central Bank, euro foreign exchange reference rates"


def read_source(where: str, max_bytes: int = MAX_BYTES) -> Rates:
    """Return the rates behind a path, or an http or https address of the public internet.

    Raises:
        InvalidInput: there is no such file, or it holds no sound rates.
        VitrineError: as ``shared.net.url_fetch.fetch``.
    """
    if where.startswith(("http://", "https://")):
        try:
            data = fetch(where, max_bytes, b"".join)
        except VitrineError as error:
            raise type(error)(error.message, FIELD) from error
    else:
        try:
            with Path(where).open("rb") as file:
                data = file.read(max_bytes + 1)
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{where} cannot be read: {error}.", FIELD) from error
        if len(data) > max_bytes:
            raise InvalidInput(f"{where} has more than {max_bytes:,} bytes: that is no file of rates.", FIELD)
    return read_ecb(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else read_rates(data)


def read_ecb(data: bytes) -> Rates:
    """Read the bank's daily XML: what a euro buys, in ``<Cube time>`` around ``<Cube currency rate>``.

    A document type, and so any entity, is refused: nothing is expanded and nothing is fetched.

    Raises:
        InvalidInput: it is not that.
    """
    days: list[str] = []
    rates: dict[str, str] = {}

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] != "Cube":
            return
        if "time" in attributes:
            days.append(attributes["time"])
        if "currency" in attributes:
            if attributes["currency"] in rates:
                raise InvalidInput("The rates are of more than one day: take the daily file.", FIELD)
            rates[attributes["currency"]] = attributes.get("rate", "")

    def refuse(*_: object) -> None:
        raise InvalidInput("The rates have a document type, which the bank's file has not.", FIELD)

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        if len(days) != 1:
            raise InvalidInput("The rates name no single day: this is not the bank's daily file.", FIELD)
        table = Table.model_validate({"date": days[0], "source": _ECB, "rates": rates})
    except expat.ExpatError as error:
        raise InvalidInput(f"The rates are not XML: {error}.", FIELD) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"The rates are wrong: {place}: {first['msg']}.", FIELD) from error
    return Rates(base="EUR", tables=(table,))


def updated(present: Rates | None, new: Rates, in_use: set[str]) -> Rates:
    """Return the rates to keep: the new ones first; what they lack keeps its own date.

    Args:
        in_use: currencies that prices are in.

    Raises:
        InvalidInput: older than what is there, of another base, or a currency in use would have no rate.
    """
    if present is None:
        result = new
    else:
        if new.base != present.base:
            raise InvalidInput(f"The rates are of {new.base}; those here are of {present.base}.", FIELD)
        newest, oldest = _newest(present), _newest(new)
        if oldest < newest:
            raise InvalidInput(f"The rates are of {oldest}, older than those here, of {newest}.", FIELD)
        result = present
        for table in reversed(new.tables):
            result = result.updated(table)
    if lacking := missing(result, in_use):
        raise InvalidInput(
            f"The rates lack {', '.join(lacking)}, which prices of this shop are in: nothing was changed. "
            "Take a source that has them, or a JSON file of your own.",
            FIELD,
        )
    return result


def _newest(rates: Rates) -> date:
    return max(table.date for table in rates.tables)


def write_rates(path: Path, rates: Rates) -> None:
    """Write the file whole or not at all.

    Raises:
        StorageUnavailable: the disk is full or the folder may not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably({path: rates.model_dump_json(indent=2).encode() + b"\n"}, path.parent)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be written: {error.strerror}.") from error
