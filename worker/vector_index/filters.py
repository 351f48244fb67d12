"""Translate filters to Milvus expressions for Milvus Lite, the 2.3 server and later ones alike.

User input becomes part of an expression only as category, product id or a text compared by order, which are
quoted. All else is numbers: the tokens of shared/filters/facts.py.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from shared.errors import Conflict
from shared.filters.facts import order_key, token
from shared.filters.tree import (
    CATEGORY,
    PRICE,
    PRODUCT_ID,
    TITLE,
    AllOf,
    Compare,
    Exists,
    Filter,
    HasWords,
    Is,
    Leaf,
    Not,
    Path,
    leaves,
)

#: Fields that collections of the first version lack: tokens, and values compared by order.
FACTS, ORDERED = "facts", "ordered"
_COLUMNS = {CATEGORY: "category", PRODUCT_ID: "product_id"}


def to_expression(filter_: Filter, fields: Collection[str]) -> str:
    """Return the filter as an expression for a collection with these fields.

    Raises:
        Conflict: the collection lacks the fields of the filter, because an older version wrote it.
    """
    if not {FACTS, ORDERED} <= set(fields) and any(_needs_facts(leaf) for leaf in leaves(filter_)):
        raise Conflict(
            "An older version wrote the index of this catalogue, without attributes, tags, titles and "
            "colours: run `vitrine rebuild CATALOGUE`. Until then filter by category, price or product_id.",
            "filter",
        )
    return _to_expression(filter_)


def matches(field: str, values: Iterable[str]) -> str:
    """Return the expression for rows whose text ``field`` is one of the values, which are quoted.

    Args:
        field: a field name from this package, never from user input.
    """
    # Not escaped to ASCII: Milvus does not read \\u escapes.
    return f"{field} in {json.dumps(list(values), ensure_ascii=False)}"


def _needs_facts(leaf: Leaf) -> bool:
    return isinstance(leaf, HasWords) or leaf.path not in (CATEGORY, PRICE, PRODUCT_ID)


def _to_expression(filter_: Filter) -> str:
    if isinstance(filter_, Not):
        return f"not ({_to_expression(filter_.part)})"
    if isinstance(filter_, Is | Compare | Exists | HasWords):
        return _leaf(filter_)
    operator = " and " if isinstance(filter_, AllOf) else " or "
    return operator.join(f"({_to_expression(part)})" for part in filter_.parts)


def _leaf(leaf: Leaf) -> str:
    if isinstance(leaf, HasWords):
        return _contains(leaf.words, TITLE, "all")
    if leaf.path == PRICE:
        return _price_expression(leaf)
    if leaf.path in _COLUMNS and not isinstance(leaf, Compare):
        field = _COLUMNS[leaf.path]
        return f'{field} != ""' if isinstance(leaf, Exists) else matches(field, map(str, leaf.values))
    if isinstance(leaf, Exists):
        return f"array_contains({FACTS}, {token(leaf.path)})"
    if isinstance(leaf, Is):
        return _contains(leaf.values, leaf.path, "any")
    # The token decides where a row has no value: Lite evaluates such a comparison neither true nor false.
    kind = token(leaf.path, kind="number" if isinstance(leaf.value, float) else "text")
    value = json.dumps(leaf.value, ensure_ascii=False)
    key = order_key(leaf.path)
    return f'(array_contains({FACTS}, {kind}) and {ORDERED}["{key}"] {leaf.order} {value})'


def _contains(values: Iterable[float | str], path: Path, quantifier: str) -> str:
    tokens = sorted({token(path, value) for value in values})
    return f"array_contains_{quantifier}({FACTS}, {tokens})"


def _price_expression(leaf: Is | Compare | Exists) -> str:
    # The rows of products without a price have a negative one (rows.NO_PRICE).
    if isinstance(leaf, Exists):
        return "price >= 0"
    if isinstance(leaf, Is):
        return f"(price >= 0 and price in {json.dumps(list(leaf.values))})"
    return f"(price >= 0 and price {leaf.order} {json.dumps(leaf.value)})"
