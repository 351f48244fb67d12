"""Turns the columns of a file into fields of a product: by their names, or as the owner says."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.contracts.stored import find_unstorable
from shared.errors import InvalidInput
from shared.imports import columns as names
from shared.imports.columns import ATTRIBUTE, FIELDS, IGNORE, VITRINE, Platform, fold
from shared.imports.values import split_pictures

#: Field of a product -> the columns that mean it.
FieldColumns = Mapping[str, Sequence[str]]
_FIELD: Final = re.compile(r"attributes\.\S.{0,99}|(title|category)_[A-Za-z]{2,3}(_[A-Za-z0-9]{2,8})?")
_PICTURE_KEYS: Final = ("src", "url", "link", "href")
_NAME_KEYS: Final = ("name", "title", "label", "value")
_MAX_PICTURE_DEPTH: Final = 4
#: Fields of which nothing tells which of several values is meant.
_SINGLE: Final = frozenset(("product_id", "price", "currency"))
_ENTITY: Final = re.compile(r"&(#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});", re.I)
_TAG_SEPARATORS: Final = re.compile(r"[|,;\n]")
_MARKUP: Final = re.compile(r"<(/?)(br|p|li|div|tr|h[1-6])\b[^<>]{0,1000}>|<[^<>]{1,1000}>", re.I)


def check_fields(mapping: FieldColumns) -> None:
    """Raise InvalidInput if a mapping names a field that no product has, or cannot be stored."""
    if (wrong := find_unstorable({name: list(columns) for name, columns in mapping.items()}, 2)) is not None:
        raise InvalidInput(f"mapping: {wrong}", "mapping")
    for name in mapping:
        if name not in FIELDS and name != IGNORE and _FIELD.fullmatch(name) is None:
            raise InvalidInput(
                f"mapping: {name[:100]!r} is no field of a product: use {', '.join(FIELDS)}, title_de, "
                f"category_de, attributes.NAME, or {IGNORE}.",
                "mapping",
            )


@dataclass(frozen=True)
class ColumnMapping:
    """Which column means which field.

    Attributes:
        platform: who wrote the file.
        fields: field by column; None leaves the column an attribute by its own name.
    """

    platform: Platform
    fields: dict[str, str | None] = field(default_factory=dict)

    def field_of(self, column: str) -> str | None:
        """Return the field of a column, also of one that came after the mapping was made."""
        if column not in self.fields:
            found = names.default_field(column, self.platform)
            joined = found is None or found in names.JOINED or found not in self.fields.values()
            self.fields[column] = found if joined else None
        return self.fields[column]

    @property
    def price_columns(self) -> list[str]:
        """Columns that mean the price."""
        return [column for column, name in self.fields.items() if name == "price"]

    def unknown(self) -> list[str]:
        """Columns that become attributes by their own names."""
        return [column for column, name in self.fields.items() if name is None and column]

    def apply(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record with the fields of a product.

        Empty fields are left out. ``titles`` and ``categories`` hold what ``title_de`` and such say, and
        ``attributes`` every column that means no field.
        """
        product: dict[str, Any] = {}
        localised: dict[str, dict[str, Any]] = {}
        attributes: dict[str, Any] = {}
        pictures: list[tuple[int, list[Any]]] = []
        for column, value in record.items():
            name = self.field_of(column)
            if name is None:
                attributes.setdefault(unicodedata.normalize("NFC", column.strip()), value)
            elif name == IGNORE or value is None or value == "":
                continue
            elif name == "images":
                pictures.append((names.rank(column), self._pictures(value)))
            elif name == "tags":
                product.setdefault("tags", []).extend(self._tags(value))
            elif name.startswith(ATTRIBUTE):
                key = name.removeprefix(ATTRIBUTE)
                attributes.setdefault(key, _plain_text(value) if key == "description" else value)
            elif name.startswith("title_"):
                localised.setdefault("titles", {})[name[len("title_") :]] = _as_text(value)
            elif name.startswith("category_"):
                localised.setdefault("categories", {})[name[len("category_") :]] = _as_text(value)
            else:
                value = value if self.platform is VITRINE else _unescaped(_first(value, name))
                if name == "price" and "currency" not in self.fields.values():
                    product["currency"] = names.price_currency(column)
                product.setdefault(name, _as_text(value) if name in ("title", "category") else value)
        if pictures:
            product["images"] = [each for _, found in sorted(pictures, key=lambda p: p[0]) for each in found]
        for name, found in localised.items():
            product[name] = joined(product.get(name), found)
        if attributes:
            product["attributes"] = joined(product.get("attributes"), attributes)
        return product

    def _pictures(self, value: Any) -> list[Any]:
        """Return names and addresses in a cell; what is none of either stays, to be refused later."""
        values = value if isinstance(value, list) else [value]
        separators = "|" if self.platform is VITRINE else "|\n"
        if self.platform is names.WOOCOMMERCE and not (isinstance(value, str) and "//" in value):
            separators += ","  # addresses may have commas of their own
        found: list[Any] = []
        for each in _flat_pictures(values):
            # A list holds whole names, in which a separator is a character like others.
            whole = isinstance(each, str) and isinstance(value, list) and self.platform is VITRINE
            found += [each] if whole or not isinstance(each, str) else split_pictures(each, separators)
        return found

    def _tags(self, value: Any) -> list[Any]:
        if not isinstance(value, str):
            return [_as_text(each) for each in value] if isinstance(value, list) else [value]
        own = self.platform is VITRINE or "|" in value
        parts = value.split("|") if own else _TAG_SEPARATORS.split(value)
        return [part.strip() for part in parts if part.strip()]


def make_mapping(
    columns: Iterable[str], wanted: FieldColumns | None = None, *, strict: bool = False
) -> ColumnMapping:
    """Return what the columns of a file mean.

    Args:
        wanted: what the owner says of some fields; the names of the columns decide the others.
        strict: whether each column that ``wanted`` names must be there.

    Raises:
        InvalidInput: a column is missing, or a field does not exist.
    """
    columns = list(columns)
    platform = names.platform_of(columns)
    fields: dict[str, str | None] = {c: names.default_field(c, platform) for c in columns}
    if platform is VITRINE:
        _substitute(fields)
    for name in {f for f in fields.values() if f is not None and f not in names.JOINED and f != IGNORE}:
        # Of several columns for one value the preferred one is taken; the others stay attributes.
        among = sorted((c for c in columns if fields[c] == name), key=names.rank)
        for column in among[1:]:
            fields[column] = None
    if "product_id" not in fields.values():
        # An export of a platform may lack the column of its ids, and have SKUs.
        candidates = [c for c in columns if names.common_field(c) == "product_id"]
        for column in sorted(candidates, key=names.rank)[:1]:
            fields[column] = "product_id"
    if wanted:
        check_fields(wanted)
        _override(fields, wanted, strict)
    return ColumnMapping(platform, fields)


def _substitute(fields: dict[str, str | None]) -> None:
    for name in names.SUBSTITUTED - set(fields.values()):
        found = [c for c, f in fields.items() if f is None and names.common_field(c) == name]
        for column in found if name in names.JOINED else sorted(found, key=names.rank)[:1]:
            if not (name == "title" and any((f or "").startswith("title") for f in fields.values())):
                fields[column] = name


def _override(fields: dict[str, str | None], wanted: FieldColumns, strict: bool) -> None:
    by_fold = {fold(column): column for column in reversed(list(fields))}
    for name, columns in wanted.items():
        found = [c if c in fields else by_fold.get(fold(c)) for c in columns]
        missing = [c for c, there in zip(columns, found, strict=True) if there is None]
        if missing and strict:
            there = ", ".join(c for c in list(fields)[:20] if c)
            raise InvalidInput(
                f"mapping: there is no column {missing[0][:100]!r} for {name}; the columns are {there}.",
                "mapping",
            )
        if not (columns_there := [c for c in found if c is not None]):
            continue
        if name != IGNORE:
            for column, field_name in fields.items():
                if field_name == name:
                    fields[column] = None
        for column in columns_there:
            fields[column] = name


def joined(first: Any, second: Any) -> Any:
    """Two objects as one; what is none, such as a text, comes back alone, for the contract to refuse."""
    for each in (first, second):
        if each and not isinstance(each, dict):
            return each
    return {**(first or {}), **(second or {})}


def _flat_pictures(values: list[Any], depth: int = 0) -> Iterator[Any]:
    """Yield the pictures of nested lists and objects, such as ``<images><image url=.../></images>``."""
    for each in values:
        inner: list[Any] | None = each if isinstance(each, list) else None
        if isinstance(each, dict):
            named = next((each[key] for key in _PICTURE_KEYS if isinstance(each.get(key), str)), None)
            if named is not None:
                yield named
                continue
            if all(isinstance(value, str | list | dict) for value in each.values()):
                inner = list(each.values())
        if inner is None or depth >= _MAX_PICTURE_DEPTH:
            yield each
        else:
            yield from _flat_pictures(inner, depth + 1)


def _unescaped(value: Any) -> Any:
    """Return a text without entities such as ``&amp;``, with which exporters escape texts of web pages."""
    return _ENTITY.sub(lambda found: html.unescape(found[0]), value) if isinstance(value, str) else value


def _as_text(value: Any) -> Any:
    """Return a number as its digits, and an object as its name, as shops' APIs write categories."""
    if isinstance(value, dict):
        value = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _first(value: Any, name: str) -> Any:
    """Return the first of several values of a field that has one; of ids and prices several are an error."""
    is_list = isinstance(value, list) and value
    return value[0] if is_list and (len(value) == 1 or name not in _SINGLE) else value


def _plain_text(value: Any) -> Any:
    """Return a description without its markup."""
    if not isinstance(value, str) or ("<" not in value and "&" not in value):
        return value
    text = _MARKUP.sub(lambda m: "\n" if m[2] else "", value)
    lines = (line.strip() for line in html.unescape(text).split("\n"))
    return "\n".join(line for line in lines if line)
