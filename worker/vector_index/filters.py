"""Filters as Milvus expressions, on Milvus Lite, the 2.3 server and later ones alike.

Nothing that a person wrote becomes part of an expression, except category, product id and a text that is
compared by order, which are quoted. All else is numbers: the tokens of shared/filters/facts.py.
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

#: Fields of a collection that its first version had not: the tokens, and what is compared by order.
FACTS, ORDERED = "facts", "ordered"
_COLUMNS = {CATEGORY: "category", PRODUCT_ID: "product_id"}


def expression(filter_: Filter, fields: Collection[str]) -> str:
    """Return the filter for a collection that has these fields.

    Raises:
        Conflict: the collection has no facts, for it was made by an older Vitrine.
    """
    if not {FACTS, ORDERED} <= set(fields) and any(_needs_facts(leaf) for leaf in leaves(filter_)):
        raise Conflict(
            "The index of this catalogue is from before filters by attributes, tags, titles and colours: "
            "`vitrine rebuild CATALOGUE` brings them. Category, price and product_id can be used now.",
            "filter",
        )
    return _expression(filter_)


def matches(field: str, values: Iterable[str]) -> str:
    """Return the expression that keeps rows whose text ``field`` is one of the values, whatever they contain.

    Args:
        field: a name of this package's, never one that came from outside.
    """
    # Not escaped to ASCII: Milvus does not read \\u escapes.
    return f"{field} in {json.dumps(list(values), ensure_ascii=False)}"


def _needs_facts(leaf: Leaf) -> bool:
    return isinstance(leaf, HasWords) or leaf.path not in (CATEGORY, PRICE, PRODUCT_ID)


def _expression(filter_: Filter) -> str:
    if isinstance(filter_, Not):
        return f"not ({_expression(filter_.part)})"
    if isinstance(filter_, Is | Compare | Exists | HasWords):
        return _leaf(filter_)
    word = " and " if isinstance(filter_, AllOf) else " or "
    return word.join(f"({_expression(part)})" for part in filter_.parts)


def _leaf(leaf: Leaf) -> str:
    if isinstance(leaf, HasWords):
        return _has(leaf.words, TITLE, "all")
    if leaf.path == PRICE:
        return _on_price(leaf)
    if leaf.path in _COLUMNS and not isinstance(leaf, Compare):
        field = _COLUMNS[leaf.path]
        return f'{field} != ""' if isinstance(leaf, Exists) else matches(field, map(str, leaf.values))
    if isinstance(leaf, Exists):
        return f"array_contains({FACTS}, {token(leaf.path)})"
    if isinstance(leaf, Is):
        return _has(leaf.values, leaf.path, "any")
    # The token decides where there is nothing to compare: Lite finds that neither true nor false.
    kind = token(leaf.path, kind="number" if isinstance(leaf.value, float) else "text")
    value = json.dumps(leaf.value, ensure_ascii=False)
    key = order_key(leaf.path)
    return f'(array_contains({FACTS}, {kind}) and {ORDERED}["{key}"] {leaf.order} {value})'


def _has(values: Iterable[float | str], path: Path, which: str) -> str:
    tokens = sorted({token(path, value) for value in values})
    return f"array_contains_{which}({FACTS}, {tokens})"


def _on_price(leaf: Is | Compare | Exists) -> str:
    # A product without a price has a negative one here.
    if isinstance(leaf, Exists):
        return "price >= 0"
    if isinstance(leaf, Is):
        return f"(price >= 0 and price in {json.dumps(list(leaf.values))})"
    return f"(price >= 0 and price {leaf.order} {json.dumps(leaf.value)})"
