"""One manifest as records of product fields, whatever its format: the seam between readers and products."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, BinaryIO, Final, cast

from shared.errors import ImageMissing, InvalidManifest, Misconfigured
from shared.imports import columns as names
from shared.imports import shopify
from shared.imports.delimited import csv_columns, csv_records
from shared.imports.formats import TEXTS, Format, detect_format
from shared.imports.gzip_files import unpack_gzip
from shared.imports.json_records import array_records, json_records
from shared.imports.mapping import ColumnMapping, FieldColumns, make_mapping
from shared.imports.prices import PriceStyle
from shared.imports.records import Numbered
from shared.imports.sandboxed import sandboxed_records
from shared.imports.sources import Source
from shared.imports.text import ENCODING_NAMES, Encoding
from shared.imports.woocommerce import Variations

#: Records whose cells tell the columns of a format that does not name them first.
_PEEKED: Final = 200
_SHOWN_COLUMNS: Final = 12


@dataclass(frozen=True)
class Reading:
    """How a manifest is read.

    Attributes:
        mapping: what the owner says of its columns.
        is_strict: whether each column of ``mapping`` must be there.
        currency: of prices that name none.
        checks_prices: whether prices are needed; reading them takes a first pass over the file.
    """

    mapping: FieldColumns | None = None
    is_strict: bool = False
    currency: str = "EUR"
    checks_prices: bool = True


@dataclass
class Table:
    """A manifest.

    Args:
        source: where it lies, and its name there.
    """

    source: Source
    name: str
    reading: Reading = field(default_factory=Reading)

    @cached_property
    def _kind(self) -> tuple[Format, Encoding]:
        return detect_format(self._opened, self.name)

    @property
    def format(self) -> Format:
        """The format that its content tells."""
        return self._kind[0]

    @property
    def encoding(self) -> str | None:
        """What people call the encoding of its text; None if its format has none."""
        return ENCODING_NAMES[self._kind[1]] if self.format in TEXTS else None

    @cached_property
    def columns(self) -> list[str]:
        """The names of its columns: of its first records, if the format does not name them first."""
        if self.format is Format.CSV:
            with self._opened() as file:
                return csv_columns(file, self._kind[1], self.name)
        found: dict[str, None] = {}
        records = self.raw_records()
        for _, record in islice(records, _PEEKED):
            if isinstance(record, dict):
                found.update(dict.fromkeys(record))
        cast(Any, records).close()
        return list(found)

    @cached_property
    def mapping(self) -> ColumnMapping:
        """What the columns mean.

        Raises:
            InvalidManifest: no column is the product's id.
            InvalidInput: the owner's mapping does not fit the file.
        """
        reading = self.reading
        mapping = make_mapping(self.columns, reading.mapping, strict=reading.is_strict)
        if self.columns and "product_id" not in mapping.fields.values():
            raise InvalidManifest(self.missing_id())
        return mapping

    def missing_id(self) -> str:
        """Return the sentence for a file without product ids."""
        shown = ", ".join(self.columns[:_SHOWN_COLUMNS])
        more = ", ..." if len(self.columns) > _SHOWN_COLUMNS else ""
        kind = "" if self.format is Format.CSV else f" ({self.format} manifest)"
        return (
            f"{self.name}{kind} has the columns {shown}{more} and no product_id: name one product_id, or say "
            "in the mapping which column it is."
        )

    @cached_property
    def prices(self) -> PriceStyle:
        """What all prices of the file together say about its decimal point."""
        style = PriceStyle()
        columns = self.mapping.price_columns
        if self.reading.checks_prices and columns and self.format is not Format.PARQUET:
            for number, record in self.raw_records():
                if isinstance(record, dict):
                    for column in columns:
                        style.add(number, record.get(column))
        return style

    def records(self) -> Iterator[Numbered]:
        """Yield each product with the fields that its columns mean."""
        mapping = self.mapping
        for number, record in self._products(mapping):
            yield number, mapping.apply(record) if isinstance(record, dict) else record

    def _products(self, mapping: ColumnMapping) -> Iterator[Numbered]:
        """Yield a record for each product: platforms spread one over several rows."""
        if mapping.platform is names.SHOPIFY:
            return shopify.join_rows(self.raw_records())
        if mapping.platform is names.WOOCOMMERCE:
            return Variations(self.raw_records()).join_rows(self.raw_records())
        return self.raw_records()

    def raw_records(self) -> Iterator[Numbered]:
        """Yield the rows of the file as they are."""
        format_, encoding = self._kind
        with self._opened() as file:
            if format_ is Format.PARQUET and importlib.util.find_spec("pyarrow") is None:
                raise Misconfigured(
                    "Parquet is read by pyarrow, which is not installed here: install it, or send the "
                    "manifest as .csv or .jsonl."
                )
            if format_ in (Format.PARQUET, Format.XLSX, Format.XML):
                yield from sandboxed_records(file, self.name, format_)
            elif format_ is Format.JSON_ARRAY:
                yield from array_records(file, encoding, self.name)
            elif format_ is Format.JSON_LINES:
                yield from json_records(file, encoding, self.name)
            else:
                yield from csv_records(file, encoding, self.name)

    def _opened(self) -> BinaryIO:
        try:
            return unpack_gzip(self.source.open(self.name), self.name)
        except ImageMissing as error:
            raise InvalidManifest(error.message) from error
