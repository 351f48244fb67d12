"""Compute the filter fields of a product: tokens and ordered values, equal in SQL, Milvus and memory.

A product's tags, attributes, currency and title words become *tokens*, one for each statement that a filter
can test: "attributes.material is oak", "the title has the word chair", "attributes.material exists". A token
is a 63-bit hash of its statement, so that no text of a catalogue or filter becomes part of a query, and a
database compares numbers only. Two statements share a token about once in 10^18. Single numbers and texts,
which have an order, are stored separately.

docs/filters.md explains this to authors of filters.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol

from shared.filters.words import split_title

#: Maximum number of tokens of attributes, tags and currency, and of titles. An attribute has two to four, a
#: tag or word has one. Values beyond the maximum cannot be filtered by.
MAX_ATTRIBUTE_TOKENS = 600
MAX_TITLE_TOKENS = 400
#: Maximum number of all tokens, colours included.
MAX_TOKENS = 1024
#: Maximum size of an ordered text. Longer texts, and texts with line breaks, support equality only.
MAX_ORDERED_BYTES = 150
#: Maximum number of names in the path of a value, "attributes" included.
MAX_DEPTH = 8
# Texts with leading zeros, exponents or more digits than a float has are names, not amounts.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?")
_MAX_EXACT = 10**15

#: A value after ``plain``.
Plain = str | float


class ProductData(Protocol):
    """Fields of a product that filters use; ``ProductIn`` and the table's row have them."""

    @property
    def titles(self) -> Mapping[str, str]: ...
    @property
    def category(self) -> str: ...
    @property
    def price(self) -> Decimal | None: ...
    @property
    def currency(self) -> str | None: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class FilterFields:
    """Filter fields of a product, or of one of its pictures, besides id, category and price.

    Attributes:
        tokens: sorted, unique, 0 to 2**63 - 1, at most ``MAX_TOKENS``.
        order: single numbers and short texts by the token of their field, in hexadecimal.
    """

    tokens: tuple[int, ...] = ()
    order: Mapping[str, float | str] = field(default_factory=dict)

    def with_colours(self, colours: Iterable[str]) -> FilterFields:
        """Return the fields of a picture: the product's, and the colours of its object."""
        added = _colour_tokens(tuple(colours))
        return FilterFields(tuple(sorted({*self.tokens, *added})), self.order) if added else self

    def as_json(self) -> dict[str, Any]:
        """Return the form that the database stores."""
        return {"tokens": list(self.tokens), "order": dict(self.order)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> FilterFields:
        """Restore the fields from the result of ``as_json``."""
        return cls(tuple(stored.get("tokens", ())), stored.get("order", {}))


def filter_fields(product: ProductData) -> FilterFields:
    """Return the filter fields of a product; deterministic across processes."""
    tokens: set[int] = set()
    order: dict[str, float | str] = {}
    given = {"currency": product.currency, "tags": list(product.tags), "attributes": product.attributes}
    for path, values, is_list in _fields((), given):
        single = None if is_list or path[0] == "tags" else _ordered(values[0])
        new = {token(path[: n + 1]) for n in range(len(path))} | {token(path, value) for value in values}
        if single is not None:
            new.add(token(path, kind="number" if isinstance(single, float) else "text"))
        if path[0] == "attributes" and len(tokens) + len(new) > MAX_ATTRIBUTE_TOKENS:
            continue
        tokens |= new
        if single is not None:
            order[order_key(path)] = single
    return FilterFields(tuple(sorted(tokens.union(_title_tokens(product.titles.values())))), order)


def token(path: Sequence[str], value: Plain | None = None, kind: str = "") -> int:
    """Return the token of "the field has this value", or without a value of "the field exists".

    Args:
        path: the names in the field's path, such as ``("attributes", "material")``.
        value: after ``plain``.
        kind: ``number`` or ``text`` for "the field is a single value of this kind".
    """
    statement = json.dumps([list(path), kind, None if value is None else written(value)])
    return int.from_bytes(hashlib.blake2b(statement.encode(), digest_size=8).digest(), "big") >> 1


def order_key(path: Sequence[str]) -> str:
    """Return the key of a field in ``FilterFields.order``."""
    return f"{token(path):016x}"


def plain(value: Any) -> Plain | None:
    """Normalise a value: "120" becomes 120, and true becomes "true", because CSV files have no types.

    Returns None for null, lists and objects.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return float(value) if abs(value) < _MAX_EXACT else str(value)
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return float(value) + 0.0 if _NUMBER.fullmatch(value) else value
    return None


def written(value: Plain) -> str:
    """Return the canonical text of a value."""
    return repr(value) if isinstance(value, float) else value


def _fields(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], list[Plain], bool]]:
    """Yield the path of each field, its values, and whether they were a list."""
    if isinstance(value, Mapping):
        if len(path) < MAX_DEPTH:
            for name, part in value.items():
                yield from _fields((*path, str(name)), part)
        return
    is_list = isinstance(value, list | tuple)
    values = [each for part in (value if is_list else [value]) if (each := plain(part)) is not None]
    if values:
        yield path, values, is_list


def _ordered(value: Plain) -> float | str | None:
    """Return the value if it supports comparison by order, else None."""
    if isinstance(value, str) and not (value.isprintable() and len(value.encode()) <= MAX_ORDERED_BYTES):
        return None
    return value


@lru_cache(maxsize=1024)
def _colour_tokens(names: tuple[str, ...]) -> frozenset[int]:
    """Return the tokens of an object's colours; cached, because every row of the index needs them."""
    found = {token(("colour",), name) for name in names}
    return frozenset(found | {token(("colour",))} if found else found)


def _title_tokens(titles: Iterable[str]) -> list[int]:
    words = dict.fromkeys(word for text in titles for word in split_title(text))
    found = [token(("title",), word) for word in itertools.islice(words, MAX_TITLE_TOKENS)]
    return [token(("title",)), *found] if found else []
