"""Parse the text of a filter into a tree. docs/filters.md describes the language."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from shared.errors import InvalidInput
from shared.filters.facts import MAX_DEPTH, Plain, plain
from shared.filters.tree import (
    COLOUR,
    PRICE,
    TITLE,
    AllOf,
    AnyOf,
    Compare,
    Exists,
    Filter,
    HasWords,
    Is,
    Not,
    Order,
    Path,
    leaves,
)
from shared.filters.vocabulary import COLOURS
from shared.filters.words import split_query
from shared.limits import MAX_FILTER_CHARS

MAX_VALUES = 100

_GRAMMAR = r"""
?start: any_of
?any_of: all_of (OR all_of)*
?all_of: condition (AND condition)*
?condition: NOT condition -> negated
    | "(" any_of ")"
    | EXISTS field -> exists
    | field EQUAL value -> equal
    | field UNEQUAL value -> unequal
    | field ORDER value -> ordered
    | field IN values -> among
    | field NOT IN values -> not_among
    | field CONTAINS value -> contains
    | field [EQUAL] value ".." value -> between
    | field BETWEEN value AND value -> between
values: "[" value ("," value)* "]"
field: NAME ("." (NAME | TEXT))*
?value: TEXT | NUMBER | TRUE | FALSE

AND.2: /and(?![\w-])/i
OR.2: /or(?![\w-])/i
NOT.2: /not(?![\w-])/i
EXISTS.2: /exists(?![\w-])/i
IN.2: /in(?![\w-])/i
CONTAINS.2: /contains(?![\w-])/i
BETWEEN.2: /between(?![\w-])/i
TRUE.2: /true(?![\w-])/i
FALSE.2: /false(?![\w-])/i
EQUAL: /==?/
UNEQUAL: "!="
ORDER: /[<>]=?/
NAME: /[^\W\d][\w-]*/
TEXT: /"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'/
NUMBER: /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/
%ignore /\s+/
"""
#: Names of the grammar's terminals in error messages.
_NAMES = {
    "NAME": "a field",
    "TEXT": 'a "text"',
    "NUMBER": "a number",
    "TRUE": "true",
    "FALSE": "false",
    "EQUAL": "=",
    "UNEQUAL": "!=",
    "ORDER": "< <= > >=",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "COMMA": "a comma",
    "DOT": "a dot",
    "__ANON_0": "..",
    "$END": "the end",
}
#: Operators of each field.
_ALL_OPERATORS = frozenset(["=", "order", "contains"])
_OPERATORS = {
    "category": frozenset("="),
    "product_id": frozenset("="),
    "currency": frozenset("="),
    "price": frozenset(("=", "order")),
    "tags": frozenset(("=", "contains")),
    "title": frozenset(("contains",)),
    "colour": frozenset(("=", "contains")),
    "attributes": _ALL_OPERATORS,
}
#: Fields whose values are texts, even if they look like numbers.
_TEXT_FIELDS = ("category", "product_id")
_ESCAPES = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")


def parse(text: str) -> Filter:
    """Parse a filter.

    Raises:
        InvalidInput: the text cannot be parsed (the message says where, and what was expected), names an
            unknown field, or is too long, too deep or too large. ``field`` is "filter".
    """
    if len(text) > MAX_FILTER_CHARS:
        raise _invalid(f"A filter has at most {MAX_FILTER_CHARS:,} characters, not {len(text):,}.")
    try:
        found = cast("Filter", _parser().parse(text))
    except UnexpectedInput as error:
        raise _invalid(_explained(error, text)) from None
    for _ in leaves(found):
        pass
    return found


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", transformer=_Builder(), maybe_placeholders=False)


class _Builder(Transformer[Token, Any]):
    """Builds the tree during parsing; one method per rule of the grammar."""

    def any_of(self, parts: list[Any]) -> Filter:
        return AnyOf(tuple(p for p in parts if not isinstance(p, Token)))

    def all_of(self, parts: list[Any]) -> Filter:
        return AllOf(tuple(p for p in parts if not isinstance(p, Token)))

    def negated(self, parts: list[Any]) -> Filter:
        return Not(parts[1])

    def exists(self, parts: list[Any]) -> Filter:
        return Exists(parts[1])

    def equal(self, parts: list[Any]) -> Filter:
        path, operator, value = parts
        return _is(path, [value], "=", operator)

    def unequal(self, parts: list[Any]) -> Filter:
        path, operator, value = parts
        return AllOf((Exists(path), Not(_is(path, [value], "=", operator))))

    def among(self, parts: list[Any]) -> Filter:
        path, operator, values = parts
        return _is(path, values, "=", operator)

    def not_among(self, parts: list[Any]) -> Filter:
        path, operator, _, values = parts
        return AllOf((Exists(path), Not(_is(path, values, "=", operator))))

    def contains(self, parts: list[Any]) -> Filter:
        path, operator, value = parts
        if path != TITLE:
            return _is(path, [value], "contains", operator)
        words = split_query(_spelled(value))
        if not words:
            raise _invalid(f"{str(value)[:40]} contains no word (character {_at(value)}).")
        return HasWords(tuple(words))

    def ordered(self, parts: list[Any]) -> Filter:
        path, operator, value = parts
        return _compare(path, cast("Order", str(operator)), value)

    def between(self, parts: list[Any]) -> Filter:
        values = [p for p in parts[1:] if p.type in ("TEXT", "NUMBER", "TRUE", "FALSE")]
        low, high = _compare(parts[0], ">=", values[0]), _compare(parts[0], "<=", values[1])
        if type(low.value) is not type(high.value):
            raise _invalid(f"A range needs two numbers or two texts ({_position(values[1])}).")
        return AllOf((low, high))

    def values(self, parts: list[Any]) -> Any:
        if len(parts) > MAX_VALUES:
            raise _invalid(f"A list has at most {MAX_VALUES} values, not {len(parts)}.")
        return parts

    def field(self, parts: list[Any]) -> Path:
        path = tuple(_spelled(p) if p.type == "TEXT" else str(p) for p in parts)
        position = _position(parts[0])
        if path[0] not in _OPERATORS:
            fields = ", ".join(name for name in _OPERATORS if name != "attributes")
            raise _invalid(
                f"{path[0]!r} is no field ({position}): the fields are {fields}, and attributes.NAME "
                f"for your own attributes, such as attributes.{path[0]}."
            )
        if path[0] == "attributes" and not 2 <= len(path) <= MAX_DEPTH:
            raise _invalid(f"Write attributes.NAME, with at most {MAX_DEPTH - 1} names ({position}).")
        if path[0] != "attributes" and len(path) > 1:
            raise _invalid(f"{path[0]} has no fields of its own ({position}).")
        return path


def _is(path: Path, values: Iterable[Token], operator: str, at: Token) -> Is:
    _check(path, operator, at)
    return Is(path, tuple(_value(path, value) for value in values))


def _value(path: Path, value: Token) -> Plain:
    """Convert a literal to a value of the field; raise InvalidInput if the field cannot have it."""
    if path[0] in _TEXT_FIELDS:
        return _spelled(value)
    found = plain(_number(value) if value.type == "NUMBER" else _spelled(value))
    assert found is not None  # a literal is a single value
    if path == COLOUR and found not in COLOURS:
        raise _invalid(
            f"{_spelled(value)!r} is no colour ({_position(value)}): the colours are {', '.join(COLOURS)}."
        )
    if path == PRICE and not isinstance(found, float):
        raise _invalid(f"price is a number below 10^15 ({_position(value)}).")
    return found


def _number(value: Token) -> int | float:
    # `math.isinf` raises OverflowError for an integer that no float can hold; `float` reads its text as inf.
    if math.isinf(float(value)):
        raise _invalid(f"This number is too large ({_position(value)}).")
    return float(value) if re.search(r"[.eE]", value) else int(value)


def _compare(path: Path, order: Order, value: Token) -> Compare:
    _check(path, "order", value)
    if value.type in ("TRUE", "FALSE"):
        raise _invalid(f"true and false have no order ({_position(value)}).")
    return Compare(path, order, _value(path, value))


def _check(path: Path, operator: str, at: Token) -> None:
    operators = _OPERATORS[path[0]]
    if operator not in operators:
        usable = {"=": "= != in", "order": "< <= > >= and ranges", "contains": "contains"}
        offered = ", ".join(usable[each] for each in ("=", "order", "contains") if each in operators)
        raise _invalid(f"{path[0]} takes {offered} and exists ({_position(at)}).")


def _spelled(value: Token) -> str:
    """Return the text of a literal, without quotes and escapes."""
    if value.type != "TEXT":
        return value.lower()

    def unescape(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "u" and len(code) == 5:
            return cast("str", json.loads(f'"\\{code}"'))
        return {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)

    text = _ESCAPES.sub(unescape, value[1:-1])
    try:
        # As in JSON, characters above U+FFFF are written as two escapes.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise _invalid(f"This text contains half a character ({_position(value)}).") from error
    if "\0" in text:
        raise _invalid(f"This text contains a NUL character ({_position(value)}).")
    return text


def _at(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _position(token: Token) -> str:
    return f"character {_at(token)}"


def _explained(error: UnexpectedInput, text: str) -> str:
    """Return a sentence with the position of a syntax error and what was expected there."""
    expected: set[str] = set()
    position = len(text)
    if isinstance(error, UnexpectedCharacters):
        expected, position = set(error.allowed or ()), error.pos_in_stream or 0
    elif isinstance(error, UnexpectedToken):
        expected = set(error.expected)
        if error.token.type != "$END":
            position = error.token.start_pos or 0
    found = repr(text[position : position + 20]) if position < len(text) else "its end"
    names = sorted({_NAMES.get(name, name.lower()) for name in expected})
    return f"The filter cannot be read at character {position + 1}, {found}: expected {' or '.join(names)}."


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, "filter")
