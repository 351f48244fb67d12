"""Joins the rows of a WooCommerce export: variations become part of the product that is their parent.

Variations may stand anywhere after their parent, so they are collected in a first reading of the file.
Source: WooCommerce's "Product CSV Import Schema".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from shared.imports.columns import fold
from shared.imports.records import Numbered
from shared.imports.woocommerce_names import to_english

_ATTRIBUTE_NAME: Final = re.compile(r"attribute (\d{1,3}) name")
_ATTRIBUTE_COLUMN: Final = re.compile(r"att?ribut\w* \d")
_COLOURS: Final = frozenset(("color", "colour", "farbe", "couleur"))
#: Columns of a variation, by the names that its object has for them.
_VARIATION: Final = {
    "id": "id",
    "sku": "sku",
    "regular price": "price",
    "sale price": "sale_price",
    "gtin, upc, ean, or isbn": "gtin",
    "in stock?": "in_stock",
    "images": "images",
}
#: Variations that are collected; further ones stay products of their own.
_MAX_VARIATIONS: Final = 200_000


class Variations:
    """The variations of a file by their parents.

    Args:
        records: all records of the file.
    """

    def __init__(self, records: Iterable[Numbered]) -> None:
        self._by_parent: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        parents: set[str] = set()
        self._columns: dict[str, str] = {}
        count = 0
        for _, record in records:
            if isinstance(record, str):
                continue
            cells = {}
            for column, value in record.items():
                cells[name := _english(column)] = value
                self._columns.setdefault(name, column)
            if not _is_variation(cells):
                if "variable" in str(cells.get("type", "")):
                    parents.update(_keys(cells))
            elif count < _MAX_VARIATIONS and (parent := _parent(cells)):
                count += 1
                self._by_parent.setdefault(parent, []).append((count, _variation(cells)))
        # Of a parent that the file does not have they are products of their own.
        self._by_parent = {p: v for p, v in self._by_parent.items() if p in parents}

    def join_rows(self, records: Iterable[Numbered]) -> Iterator[Numbered]:
        """Yield the products of a file, each with its variations."""
        for number, record in records:
            if isinstance(record, str):
                yield number, record
                continue
            cells = {_english(column): value for column, value in record.items()}
            if _is_variation(cells) and _parent(cells) in self._by_parent:
                continue
            yield number, self._joined(record, cells)

    def _joined(self, record: dict[str, Any], cells: dict[str, Any]) -> dict[str, Any]:
        product = _with_attributes(record, cells)
        if not cells.get("id") and cells.get("sku"):
            product[self._columns.get("id", "ID")] = cells["sku"]
        numbered = [each for key in _keys(cells) for each in self._by_parent.get(key, ())]
        variations = [each for _, each in sorted(numbered, key=lambda n: n[0])]
        if not variations:
            return product
        pictures = [str(v["images"]) for v in variations if v.get("images")]
        if pictures:
            first = [str(cells["images"])] if cells.get("images") else []
            product[self._columns.get("images", "Images")] = ", ".join([*first, *pictures])
        if not cells.get("regular price"):
            # A variable product has no price of its own; WooCommerce shows the price of its variations.
            prices = [v["price"] for v in variations if v.get("price")]
            column = self._columns.get("regular price", "Regular price")
            product.update({column: prices[0]} if prices else {})
        product["variants"] = [{k: v for k, v in each.items() if k != "images"} for each in variations]
        return product


def _english(column: str) -> str:
    return to_english(fold(column))


def _is_variation(cells: dict[str, Any]) -> bool:
    return "variation" in str(cells.get("type", "")).casefold()


def _keys(cells: dict[str, Any]) -> list[str]:
    """Return what a variation may call its parent: ``id:44`` or its SKU."""
    keys = [f"id:{cells['id']}"] if cells.get("id") else []
    return [*keys, str(cells["sku"])] if cells.get("sku") else keys


def _parent(cells: dict[str, Any]) -> str:
    return str(cells.get("parent", "")).strip()


def _variation(cells: dict[str, Any]) -> dict[str, Any]:
    return {name: cells[c] for c, name in _VARIATION.items() if cells.get(c)} | _options(cells)


def _options(cells: dict[str, Any]) -> dict[str, Any]:
    options = {}
    for column, name in cells.items():
        if (found := _ATTRIBUTE_NAME.fullmatch(column)) is not None:
            values = cells.get(f"attribute {found[1]} value(s)")
            if name and values:
                options[str(name)] = values
    return {"options": options} if options else {}


def _with_attributes(record: dict[str, Any], cells: dict[str, Any]) -> dict[str, Any]:
    """Return the record with ``Attribute 1 name`` and its values as one cell called like the attribute."""
    product = {c: _unescaped(c, v) for c, v in record.items() if _ATTRIBUTE_COLUMN.match(_english(c)) is None}
    for name, values in _options(cells).get("options", {}).items():
        parts = [part.strip() for part in str(values).split(",") if part.strip()]
        key = "colour" if name.casefold() in _COLOURS else name
        product.setdefault(key, parts[0] if len(parts) == 1 else parts)
    return product


def _unescaped(column: str, value: Any) -> Any:
    """Return a cell without the backslashes that WooCommerce writes before commas and for line breaks."""
    if not isinstance(value, str) or "\\" not in value:
        return value
    if any(word in _english(column) for word in ("description", "beschreibung")):
        value = value.replace("\\n", "\n")
    return value.replace("\\,", ",")
