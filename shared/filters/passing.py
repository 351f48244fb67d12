"""Evaluate filters in memory; SQL and Milvus must give the same results."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from shared.filters.facts import FilterFields, ProductData, filter_fields, order_key, token
from shared.filters.tree import (
    CATEGORY,
    PRICE,
    PRODUCT_ID,
    TITLE,
    AllOf,
    AnyOf,
    Compare,
    Exists,
    Filter,
    HasWords,
    Is,
    Leaf,
    Not,
    Path,
)

IN_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class IdentifiedProduct(ProductData, Protocol):
    """A product with its id, such as the table's row or ``ProductOut``."""

    @property
    def product_id(self) -> str: ...


class FilterRow(Protocol):
    """The fields of an index row that filters use; ``IndexRow`` has them."""

    @property
    def product_id(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def price(self) -> float | None: ...
    @property
    def facts(self) -> FilterFields: ...


def matches(filter_: Filter, product: IdentifiedProduct, colours: Iterable[str] = ()) -> bool:
    """Return whether a product matches.

    Args:
        colours: colours of the object in one of its pictures; a product has none by itself.
    """
    return passes(filter_, _Row(product, filter_fields(product).with_colours(colours)))


def passes(filter_: Filter, row: FilterRow) -> bool:
    """Return whether a row of the index matches."""
    if isinstance(filter_, Not):
        return not passes(filter_.part, row)
    if isinstance(filter_, AllOf):
        return all(passes(part, row) for part in filter_.parts)
    if isinstance(filter_, AnyOf):
        return any(passes(part, row) for part in filter_.parts)
    return _holds(filter_, row)


class _Row:
    def __init__(self, product: IdentifiedProduct, facts: FilterFields) -> None:
        self.product_id = product.product_id
        self.category = product.category
        self.price = None if product.price is None else float(product.price)
        self.facts = facts


def _holds(leaf: Leaf, row: FilterRow) -> bool:
    if isinstance(leaf, HasWords):
        return all(token(TITLE, word) in row.facts.tokens for word in leaf.words)
    if leaf.path in (CATEGORY, PRICE, PRODUCT_ID):
        return _column_holds(leaf, {CATEGORY: row.category, PRICE: row.price, PRODUCT_ID: row.product_id})
    if isinstance(leaf, Exists):
        return token(leaf.path) in row.facts.tokens
    if isinstance(leaf, Is):
        return any(token(leaf.path, value) in row.facts.tokens for value in leaf.values)
    found = row.facts.order.get(order_key(leaf.path))
    return type(found) is type(leaf.value) and bool(IN_ORDER[leaf.order](found, leaf.value))


def _column_holds(leaf: Is | Compare | Exists, row: dict[Path, Any]) -> bool:
    found = row[leaf.path]
    if isinstance(leaf, Exists):
        return found not in (None, "")
    if isinstance(leaf, Is):
        return found is not None and found in leaf.values
    return found is not None and bool(IN_ORDER[leaf.order](found, leaf.value))
