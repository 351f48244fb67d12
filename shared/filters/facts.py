"""What filters know of a product: numbers that stand for its values, the same in SQL, in Milvus and here.

A product's tags, attributes, currency and title words become *tokens*, one for each thing that a filter
may ask: "attributes.material is oak", "the title has the word chair", "attributes.material is known".
A token is a number of 63 bits, the hash of what it says, so that no text of a catalogue or of a filter
ever becomes part of a query, and a database compares numbers only. Two different things share a token
about once in 10^18. What is compared by order, single numbers and texts, is kept beside the tokens.

docs/filters.md says the same for those who write filters.
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

#: Most tokens of attributes (tags and currency among them) and of titles: two to four for an attribute,
#: one for a tag or a word. What does not fit cannot be filtered by.
MAX_ATTRIBUTE_TOKENS = 600
MAX_TITLE_TOKENS = 400
#: Most tokens in all: those, and the colours.
MAX_TOKENS = 1024
#: A text of more bytes, or with line breaks in it, can be equal to another but not less or more.
MAX_ORDERED_BYTES = 150
#: Names that may lead to a value, "attributes" included.
MAX_DEPTH = 8
# Leading zeros, exponents and more digits than a
# float keeps are names, not amounts.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?")
_MOST_EXACT = 10**15

#: A value as filters see it, after ``plain``.
Plain = str | float


class ProductData(Protocol):
    """What of a product decides whether it passes a filter: ``ProductIn``, and the table's row, are such."""

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
    """What filters know of a product, or of one picture of it, besides id, category and price.

    Attributes:
        tokens: sorted, each once, 0 to 2**63 - 1, at most ``MAX_TOKENS``.
        order: single numbers and short texts by the token of their field, in hexadecimal.
    """

    tokens: tuple[int, ...] = ()
    order: Mapping[str, float | str] = field(default_factory=dict)

    def with_colours(self, colours: Iterable[str]) -> FilterFields:
        """Return the facts of a picture: the product's, and the colours of the object in it."""
        added = _colour_tokens(tuple(colours))
        return FilterFields(tuple(sorted({*self.tokens, *added})), self.order) if added else self

    def as_json(self) -> dict[str, Any]:
        """Return the form in which the catalogue database keeps them."""
        return {"tokens": list(self.tokens), "order": dict(self.order)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> FilterFields:
        """Undo ``as_json``."""
        return cls(tuple(kept.get("tokens", ())), kept.get("order", {}))


def filter_fields(product: ProductData) -> FilterFields:
    """Return the facts of a product, the same for the same product in every process."""
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
    """Return the number for "the field has this value", or without one for "the field is there".

    Args:
        path: the names that lead to the field, such as ``("attributes", "material")``.
        value: after ``plain``.
        kind: ``number`` or ``text`` for "the field is one value of this kind".
    """
    said = json.dumps([list(path), kind, None if value is None else written(value)])
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), "big") >> 1


def order_key(path: Sequence[str]) -> str:
    """Return the name under which ``FilterFields.order`` has the field."""
    return f"{token(path):016x}"


def plain(value: Any) -> Plain | None:
    """Return the value as filters see it: "120" is 120, and true is "true", for CSV files have no types.

    None for what is no single value: null, lists, objects.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return float(value) if abs(value) < _MOST_EXACT else str(value)
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return float(value) + 0.0 if _NUMBER.fullmatch(value) else value
    return None


def written(value: Plain) -> str:
    """Return the one spelling of a value."""
    return repr(value) if isinstance(value, float) else value


def _fields(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], list[Plain], bool]]:
    """Yield each field with its values, one or more, and whether they came as a list."""
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
    """Return the value if it can be less or more than another."""
    if isinstance(value, str) and not (value.isprintable() and len(value.encode()) <= MAX_ORDERED_BYTES):
        return None
    return value


@lru_cache(maxsize=1024)
def _colour_tokens(names: tuple[str, ...]) -> frozenset[int]:
    """Return what says that an object has these colours; kept, for every row of the index asks."""
    found = {token(("colour",), name) for name in names}
    return frozenset(found | {token(("colour",))} if found else found)


def _title_tokens(titles: Iterable[str]) -> list[int]:
    words = dict.fromkeys(word for text in titles for word in split_title(text))
    found = [token(("title",), word) for word in itertools.islice(words, MAX_TITLE_TOKENS)]
    return [token(("title",)), *found] if found else []
