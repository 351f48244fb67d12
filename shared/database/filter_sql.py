"""Convert filters to SQL conditions on products, for SQLite and PostgreSQL.

Every value is a bound parameter. Every part is true or false, never NULL, so that ``NOT`` inverts it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Double,
    String,
    and_,
    bindparam,
    exists,
    false,
    func,
    not_,
    or_,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from shared.database.tables import Detection, Image, Product
from shared.filters.facts import order_key, token
from shared.filters.passing import IN_ORDER
from shared.filters.tree import (
    CATEGORY,
    COLOUR,
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
)
from shared.filters.vocabulary import COLOURS


def where(filter_: Filter) -> ColumnElement[bool]:
    """Return the condition on ``Product`` that selects the matching products.

    A colour matches that of an object in any of the product's pictures, in any index version.
    """
    if isinstance(filter_, Not):
        return not_(where(filter_.part))
    if isinstance(filter_, AllOf):
        return and_(true(), *(where(part) for part in filter_.parts))
    if isinstance(filter_, AnyOf):
        return or_(false(), *(where(part) for part in filter_.parts))
    return _leaf(filter_)


def _leaf(leaf: Leaf) -> ColumnElement[bool]:
    if isinstance(leaf, HasWords):
        return and_(true(), *(_has_token(token(TITLE, word)) for word in leaf.words))
    if leaf.path == PRICE:
        return _on_price(leaf)
    if leaf.path in (CATEGORY, PRODUCT_ID) and not isinstance(leaf, Compare):
        column = Product.category if leaf.path == CATEGORY else Product.product_id
        return column != "" if isinstance(leaf, Exists) else column.in_(leaf.values)
    if leaf.path == COLOUR and not isinstance(leaf, Compare):
        return _on_colour(leaf)
    if isinstance(leaf, Exists):
        return _has_token(token(leaf.path))
    if isinstance(leaf, Is):
        return or_(false(), *(_has_token(token(leaf.path, value)) for value in leaf.values))
    return _in_order(leaf)


def _on_price(leaf: Is | Compare | Exists) -> ColumnElement[bool]:
    has_price = Product.price.is_not(None)
    if isinstance(leaf, Exists):
        return has_price
    if isinstance(leaf, Is):
        return and_(has_price, Product.price.in_([Decimal(repr(value)) for value in leaf.values]))
    return and_(has_price, IN_ORDER[leaf.order](Product.price, Decimal(repr(leaf.value))))


def _on_colour(leaf: Is | Exists) -> ColumnElement[bool]:
    names = COLOURS if isinstance(leaf, Exists) else leaf.values
    matches = or_(false(), *(_HasColour(Detection.colours, bindparam(None, name, String)) for name in names))
    return exists().where(Image.product == Product.id, Detection.image_id == Image.id, matches)


def _has_token(number: int) -> ColumnElement[bool]:
    return _HasToken(Product.facts, bindparam(None, number, BigInteger))


def _in_order(leaf: Compare) -> ColumnElement[bool]:
    kind, function = (Double, _NumberOf) if isinstance(leaf.value, float) else (String, _TextOf)
    found = function(Product.facts, bindparam(None, order_key(leaf.path), String))
    return func.coalesce(IN_ORDER[leaf.order](found, bindparam(None, leaf.value, kind)), false())


class _HasToken(FunctionElement[bool]):
    """``(facts, number)``: whether the tokens include the number."""

    type = Boolean()
    inherit_cache = True


class _HasColour(FunctionElement[bool]):
    """``(colours, name)``: whether the list includes the name; false without a list."""

    type = Boolean()
    inherit_cache = True


class _NumberOf(FunctionElement[float]):
    """``(facts, key)``: the ordered number of a field, or NULL."""

    type = Double()
    inherit_cache = True


class _TextOf(FunctionElement[str]):
    """``(facts, key)``: the ordered text of a field, compared by its bytes, or NULL."""

    type = String()
    inherit_cache = True


# The functions below join compiled names of columns and parameters, never values.


def _written(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> list[str]:
    return [compiler.process(clause, **options) for clause in element.clauses]


@compiles(_HasToken, "sqlite")
def _(element: _HasToken, compiler: SQLCompiler, **options: Any) -> str:
    facts, number = _written(element, compiler, **options)
    return f"EXISTS (SELECT 1 FROM json_each({facts}, '$.tokens') AS fact WHERE fact.value = {number})"  # noqa: S608


@compiles(_HasToken, "postgresql")
def _(element: _HasToken, compiler: SQLCompiler, **options: Any) -> str:
    facts, number = _written(element, compiler, **options)
    return f"COALESCE({facts} -> 'tokens' @> to_jsonb({number}), FALSE)"


@compiles(_HasColour, "sqlite")
def _(element: _HasColour, compiler: SQLCompiler, **options: Any) -> str:
    colours, name = _written(element, compiler, **options)
    return f"EXISTS (SELECT 1 FROM json_each({colours}) AS seen WHERE seen.value = {name})"  # noqa: S608


@compiles(_HasColour, "postgresql")
def _(element: _HasColour, compiler: SQLCompiler, **options: Any) -> str:
    colours, name = _written(element, compiler, **options)
    return f"COALESCE({colours} @> to_jsonb(CAST({name} AS TEXT)), FALSE)"


@compiles(_NumberOf, "sqlite")
def _(element: _NumberOf, compiler: SQLCompiler, **options: Any) -> str:
    return _sqlite_order(_written(element, compiler, **options), "'integer', 'real'")


@compiles(_TextOf, "sqlite")
def _(element: _TextOf, compiler: SQLCompiler, **options: Any) -> str:
    return _sqlite_order(_written(element, compiler, **options), "'text'")


@compiles(_NumberOf, "postgresql")
def _(element: _NumberOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"({_postgresql_order(_written(element, compiler, **options), 'number')})::double precision"


@compiles(_TextOf, "postgresql")
def _(element: _TextOf, compiler: SQLCompiler, **options: Any) -> str:
    return f'({_postgresql_order(_written(element, compiler, **options), "string")} COLLATE "C")'


def _sqlite_order(clauses: list[str], kinds: str) -> str:
    facts, key = clauses
    found = f"FROM json_each({facts}, '$.order') AS fact WHERE fact.key = {key} AND fact.type IN ({kinds})"
    return f"(SELECT fact.value {found})"


def _postgresql_order(clauses: list[str], kind: str) -> str:
    # CASE, because PostgreSQL may otherwise cast before it checks the type.
    facts, key = clauses
    found = f"{facts} -> 'order' -> {key}"
    return f"(CASE jsonb_typeof({found}) WHEN '{kind}' THEN {facts} -> 'order' ->> {key} END)"
