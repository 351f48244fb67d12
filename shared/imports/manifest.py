"""Read manifests as products: any format of ``shared.imports.formats``, or a plain folder of images.

The formats are described in docs/import.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import ValidationError

from shared.contracts import ProductIn
from shared.contracts.product_ids import find_id_error
from shared.contracts.stored import find_unstorable
from shared.errors import ImageMissing, InvalidManifest
from shared.imports.columns import FIELDS
from shared.imports.find_manifest import find_manifest as find_manifest
from shared.imports.folder_rows import BadFile, folder_records
from shared.imports.mapping import joined
from shared.imports.prices import PriceStyle, check_decimals
from shared.imports.sources import Source
from shared.imports.tables import Reading, Table
from shared.imports.values import (
    SHARED_SIGNS,
    is_address,
    to_availability,
    to_currency,
    to_page_address,
    to_picture_name,
)

_PRODUCT_FIELDS: Final = tuple(name for name in FIELDS if name not in ("product_id", "images"))
#: Of lists and objects in attributes: deeper ones are an attack or a mistake.
_MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A product of a manifest, or the error of its row.

    Attributes:
        number: line of the manifest, from 1 (or number of the product in the folder).
        problem: reason code and sentence; then ``product`` is None.
        file: of the import, that the problem is about.
    """

    number: int
    product_id: str | None
    product: ProductIn | None
    images: list[str]
    problem: tuple[str, str] | None = None
    file: str | None = None


def read_rows(source: Source, reading: Reading | None = None) -> Iterator[Row]:
    """Yield the products of a source one by one, in constant memory.

    Raises:
        InvalidManifest: the file as a whole cannot be read; a bad row is a Row with a problem.
        InvalidInput: the owner's mapping does not fit the file.
    """
    reading = reading or Reading()
    name = find_manifest(source, reading)
    try:
        if name is None:
            yield from _folder_rows(source, reading)
        else:
            yield from _table_rows(Table(source, name, reading))
    except ImageMissing as error:
        raise InvalidManifest(error.message) from error


def _table_rows(table: Table) -> Iterator[Row]:
    # Image paths are relative to the manifest.
    base = str(PurePosixPath(table.name).parent)
    reader = _RowReader("" if base == "." else base + "/", table.reading, table.prices)
    for number, record in table.records():
        yield reader.row(number, record)


def _folder_rows(source: Source, reading: Reading) -> Iterator[Row]:
    reader = _RowReader("", reading, PriceStyle(), has_file_names=True)
    for number, record in enumerate(folder_records(source), start=1):
        if isinstance(record, BadFile):
            problem = record.reason, record.message
            yield Row(number, record.product_id, None, [], problem, record.name)
        else:
            yield reader.row(number, record)


@dataclass(frozen=True)
class _RowReader:
    """Turns records into products.

    Attributes:
        base: folder of the manifest, with a slash, or empty.
        prices: how the file writes prices.
        has_file_names: whether pictures are named as their files are, not as a person writes them.
    """

    base: str
    reading: Reading
    prices: PriceStyle
    has_file_names: bool = False

    def row(self, number: int, record: dict[str, Any] | str) -> Row:
        """Return a record as a product, or its error."""
        if isinstance(record, str):
            return Row(number, None, None, [], ("invalid_row", record))
        if (wrong := find_unstorable(record, _MAX_DEPTH)) is not None:
            return Row(number, None, None, [], ("invalid_row", wrong))
        product_id = record.get("product_id")
        if product_id is None or product_id == "":
            return Row(number, None, None, [], ("missing_product_id", "This row has no product_id."))
        if not isinstance(product_id, str | int | float) or isinstance(product_id, bool):
            text = f"{str(product_id)[:80]!r} is no product id: write a text or a number."
            return Row(number, None, None, [], ("invalid_product_id", text))
        # A spreadsheet or pandas may have made a number of it.
        whole = isinstance(product_id, float) and product_id.is_integer()
        product_id = str(int(product_id) if whole else product_id)
        if (wrong := find_id_error(product_id)) is not None:
            return Row(number, None, None, [], ("invalid_product_id", wrong))
        try:
            images = self._images(record)
            fields = _fields(record)
            self._set_price(fields)
            product = ProductIn.model_validate(fields)
        except ValidationError as error:
            return Row(number, product_id, None, [], _problem(error))
        except ValueError as error:
            return Row(number, product_id, None, [], _value_problem(str(error)))
        if not images:
            return Row(number, product_id, product, images, ("no_image", "This product names no image."))
        return Row(number, product_id, product, images)

    def _images(self, record: dict[str, Any]) -> list[str]:
        found = record.get("images") or []
        if not isinstance(found, list) or not all(isinstance(n, str) and n for n in found):
            raise ValueError("`images` is a list of addresses, or of file names relative to the manifest.")
        if self.has_file_names:
            return list(found)
        pictures = [to_picture_name(name) for name in found]
        return list(dict.fromkeys(n if is_address(n) else self.base + n for n in pictures))

    def _set_price(self, fields: dict[str, Any]) -> None:
        """Put a price and its currency into the forms that products have."""
        currency = fields.get("currency")
        if isinstance(currency, str):
            currency = fields["currency"] = to_currency(currency)
        price = fields.get("price")
        if isinstance(price, dict):  # as Google's API writes it
            currency = fields["currency"] = price.get("currency") or currency
            price = price.get("value", price.get("amount"))
        if price is None or not self.reading.checks_prices:
            fields.pop("price", None)
            return
        known = currency if isinstance(currency, str) else self.reading.currency
        amount, written = self.prices.read(price, known)
        if written.currency is not None:
            if isinstance(currency, str) and currency != written.currency:
                raise ValueError(
                    f"currency: the price is in {written.currency} and the column says {currency}: correct "
                    "one of them."
                )
            known = fields["currency"] = written.currency
        if written.sign is not None and known not in SHARED_SIGNS[written.sign]:
            raise ValueError(
                f"currency: {price!r} does not say which currency {written.sign} is: write its three "
                f"letters, such as {max(SHARED_SIGNS[written.sign])}."
            )
        check_decimals(amount, known)
        fields["price"] = str(amount)


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    fields = {k: record[k] for k in _PRODUCT_FIELDS if record.get(k) is not None}
    if title := fields.pop("title", None):
        if isinstance(title, bool | list):
            raise ValueError(f"title: {str(title)[:60]!r} is no title: write one text.")
        own = title if isinstance(title, dict) else {"en": title}
        fields["titles"] = joined(own, fields.get("titles"))
    if isinstance(fields.get("url"), str):
        fields["url"] = to_page_address(fields["url"])
    attributes = fields.get("attributes")
    if isinstance(attributes, dict) and "availability" in attributes:
        fields["attributes"] = attributes | {"availability": to_availability(attributes["availability"])}
    return fields


def _value_problem(sentence: str) -> tuple[str, str]:
    field = sentence.partition(":")[0]
    return {"price": "invalid_price", "currency": "invalid_currency"}.get(field, "invalid_row"), sentence


def _problem(error: ValidationError) -> tuple[str, str]:
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    reason = {"price": "invalid_price", "currency": "invalid_currency"}.get(field, "invalid_row")
    return (
        reason,
        f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].removeprefix('Value error, ')} "
        f"(is {str(first['input'])[:60]!r})",
    )
