"""Read and update exchange rates from a file or web address, in the ECB's format or our own."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from xml.parsers import expat

from pydantic import ValidationError

from shared.errors import InvalidInput, StorageUnavailable, VitrineError
from shared.money.rates import MAX_BYTES, Rates, Table, missing, read_rates
from shared.net.url_fetch import fetch
from shared.storage.disk import write_durably

FIELD = "rates"
_ECB = "European Central Bank, euro foreign exchange reference rates"


def read_source(where: str, max_bytes: int = MAX_BYTES) -> Rates:
    """Read the rates from a path, or from a public http or https address.

    Raises:
        InvalidInput: the file does not exist, or has no valid rates.
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
            raise InvalidInput(f"{where} has more than {max_bytes:,} bytes: it is no file of rates.", FIELD)
    return read_ecb(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else read_rates(data)


def read_ecb(data: bytes) -> Rates:
    """Parse the ECB's daily XML: rates per euro in ``<Cube currency rate>`` within ``<Cube time>``.

    A document type, and with it any entity, is rejected: nothing is expanded or fetched.

    Raises:
        InvalidInput: the data has another format.
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
                raise InvalidInput("The rates are of more than one day: use the daily file.", FIELD)
            rates[attributes["currency"]] = attributes.get("rate", "")

    def refuse(*_: object) -> None:
        raise InvalidInput("The rates have a document type, which the ECB's file does not have.", FIELD)

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        if len(days) != 1:
            raise InvalidInput("The rates are not of a single day: use the ECB's daily file.", FIELD)
        table = Table.model_validate({"date": days[0], "source": _ECB, "rates": rates})
    except expat.ExpatError as error:
        raise InvalidInput(f"The rates are not XML: {error}.", FIELD) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"The rates are invalid: {field}: {first['msg']}.", FIELD) from error
    return Rates(base="EUR", tables=(table,))


def updated(present: Rates | None, new: Rates, in_use: set[str]) -> Rates:
    """Merge new rates into the present ones; currencies that the new rates lack keep their rates and dates.

    Args:
        in_use: currencies of prices.

    Raises:
        InvalidInput: the new rates are older, have another base, or a currency in use would have no rate.
    """
    if present is None:
        result = new
    else:
        if new.base != present.base:
            raise InvalidInput(
                f"The base of the rates is {new.base}; that of the present ones is {present.base}.", FIELD
            )
        newest, oldest = _newest(present), _newest(new)
        if oldest < newest:
            raise InvalidInput(f"The rates are of {oldest}, older than the present ones of {newest}.", FIELD)
        result = present
        for table in reversed(new.tables):
            result = result.updated(table)
    if lacking := missing(result, in_use):
        raise InvalidInput(
            f"The rates lack {', '.join(lacking)}, which prices of this shop use: nothing was changed. "
            "Use a source that has them, or your own JSON file.",
            FIELD,
        )
    return result


def _newest(rates: Rates) -> date:
    return max(table.date for table in rates.tables)


def write_rates(path: Path, rates: Rates) -> None:
    """Write the file atomically.

    Raises:
        StorageUnavailable: the disk is full or the folder is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably({path: rates.model_dump_json(indent=2).encode() + b"\n"}, path.parent)
    except OSError as error:
        raise StorageUnavailable(f"{path} cannot be written: {error.strerror}.") from error
