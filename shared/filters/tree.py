"""The tree of a filter, which the parser builds and memory, SQL and Milvus evaluate.

A field has no value, one, or (as a list) several. Every part is true or false, never unknown: a condition on
a missing value is false, and its negation true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shared.errors import InvalidInput
from shared.filters.facts import Plain

#: Path of a field: ``("price",)``, ``("attributes", "size", "width")``.
Path = tuple[str, ...]
Order = Literal["<", "<=", ">", ">="]

CATEGORY: Path = ("category",)
PRICE: Path = ("price",)
PRODUCT_ID: Path = ("product_id",)
TITLE: Path = ("title",)
COLOUR: Path = ("colour",)


@dataclass(frozen=True, slots=True)
class Is:
    """One of the field's values is one of these (``=``, ``in``, ``contains``).

    Attributes:
        values: unchanged texts for category and product id; results of ``plain`` for other fields.
    """

    path: Path
    values: tuple[Plain, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """The field is a single value of the same kind as ``value``, and compares to it in this order."""

    path: Path
    order: Order
    value: float | str


@dataclass(frozen=True, slots=True)
class HasWords:
    """The titles in all languages together have all these words, from ``split_query``."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value."""

    path: Path


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Filter, ...]


Leaf = Is | Compare | HasWords | Exists
Filter = Leaf | Not | AllOf | AnyOf

MAX_DEPTH = 16
MAX_COMPARISONS = 32


def category_is(category: str) -> Filter:
    """Return the filter that matches one category."""
    return Is(CATEGORY, (category,))


def product_is_one_of(product_ids: list[str]) -> Filter:
    """Return the filter that matches these products."""
    return Is(PRODUCT_ID, tuple(product_ids))


def both(first: Filter | None, second: Filter | None) -> Filter | None:
    """Return the conjunction of two filters; None matches everything."""
    if first is None or second is None:
        return first if second is None else second
    return AllOf((first, second))


def leaves(filter_: Filter) -> Iterator[Leaf]:
    """Yield the comparisons of a filter, from left to right.

    Iterates with an explicit stack, so that the limits are checked before any code recurses.

    Raises:
        InvalidInput: the filter is nested too deeply, or has too many comparisons.
    """
    waiting: list[tuple[Filter, int]] = [(filter_, 1)]
    count = 0
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise InvalidInput(f"A filter may be nested at most {MAX_DEPTH} deep.", "filter")
        if isinstance(node, Not):
            waiting.append((node.part, depth + 1))
        elif isinstance(node, AllOf | AnyOf):
            waiting.extend((part, depth + 1) for part in reversed(node.parts))
        else:
            count += 1
            if count > MAX_COMPARISONS:
                raise InvalidInput(f"A filter may have at most {MAX_COMPARISONS} comparisons.", "filter")
            yield node
