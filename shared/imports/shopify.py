"""Joins the rows of a Shopify export: a product has a row for each variant and each further picture.

Source: Shopify Help, "Using CSV files to import and export products".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from shared.imports.columns import fold
from shared.imports.records import Numbered

_HANDLES: Final = ("handle", "url handle")
_PICTURES: Final = ("image src", "product image url")
_POSITIONS: Final = ("image position",)
_VARIANT_PICTURES: Final = ("variant image", "variant image url")
#: Columns of a variant, by the names that its object has for them.
_VARIANT: Final = {
    "variant sku": "sku",
    "sku": "sku",
    "variant price": "price",
    "price": "price",
    "variant compare at price": "compare_at_price",
    "compare at price": "compare_at_price",
    "variant barcode": "gtin",
    "barcode": "gtin",
    "variant inventory qty": "stock",
    "inventory quantity": "stock",
}
_OPTIONS: Final = (1, 2, 3)
_NO_OPTION: Final = "Default Title"
_COLOURS: Final = frozenset(("color", "colour", "farbe", "couleur"))
#: Rows of one product; Shopify allows 2,048 variants and 250 pictures.
_MAX_ROWS: Final = 5_000


def join_rows(records: Iterable[Numbered]) -> Iterator[Numbered]:
    """Yield one record for each run of rows with the same handle.

    The record is the first row, with the pictures of all rows in their stated order, and with the
    variants and their options, if there are several, as attributes.
    """
    group: list[tuple[int, dict[str, Any]]] = []
    handle: Any = None
    for number, record in records:
        if isinstance(record, str):
            yield number, record
            continue
        own = _of(record, _HANDLES)
        # Rows without a handle are errors of their own, and belong to no product.
        if group and (own is None or own != handle or len(group) >= _MAX_ROWS):
            yield group[0][0], _joined(group)
            group = []
        handle = own
        group.append((number, record))
    if group:
        yield group[0][0], _joined(group)


def _of(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((value for column, value in record.items() if fold(column) in names), None)


def _joined(group: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    rows = [record for _, record in group]
    product = dict(rows[0])
    _join_pictures(product, rows)
    variants = [variant for row in rows if (variant := _variant(row, rows[0]))]
    for name, values in _options(variants).items():
        key = "colour" if name.casefold() in _COLOURS else name
        product.setdefault(key, values if len(values) > 1 else values[0])
    if len(variants) > 1:
        product["variants"] = variants
    return product


def _join_pictures(product: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    placed = [(_position(row), n, picture) for n, row in enumerate(rows) if (picture := _of(row, _PICTURES))]
    pictures = [picture for _, _, picture in sorted(placed)]
    pictures += [picture for row in rows if (picture := _of(row, _VARIANT_PICTURES))]
    for column in [c for c in product if fold(c) in (*_PICTURES, *_VARIANT_PICTURES)]:
        del product[column]
    if pictures:
        product["Image Src"] = list(dict.fromkeys(pictures))


def _position(row: dict[str, Any]) -> int:
    """Return the stated position of a row's picture; a spreadsheet may have written 1 as 1.0."""
    text = str(_of(row, _POSITIONS) or "").removesuffix(".0")
    return int(text) if text.isdecimal() else 10**6


def _variant(row: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Return the variant that a row holds; empty for a row that holds a picture only."""
    variant = {name: v for c, v in row.items() if (name := _VARIANT.get(fold(c))) is not None}
    folded = {fold(c): v for c, v in row.items()}
    names = {fold(c): v for c, v in first.items()}
    for n in _OPTIONS:
        value, name = folded.get(f"option{n} value"), names.get(f"option{n} name")
        if value and name and value != _NO_OPTION:
            variant.setdefault("options", {})[str(name)] = value
    return variant


def _options(variants: list[dict[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for variant in variants:
        for name, value in variant.get("options", {}).items():
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return found
