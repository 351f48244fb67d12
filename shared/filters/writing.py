"""Format a filter as canonical text."""

from __future__ import annotations

import re

from shared.filters.facts import Plain
from shared.filters.tree import AllOf, AnyOf, Compare, Exists, Filter, HasWords, Is, Not, Path

_NAME = re.compile(r"[^\W\d][\w-]*")
_WORDS = frozenset(("and", "or", "not", "exists", "in", "contains", "between", "true", "false"))
# Quotes, backslashes, line ends and invisible characters.
_ESCAPED = re.compile(r'["\\]|[^\x20-\x7e\xa1-\uffff]')


def format_filter(filter_: Filter) -> str:
    """Return the filter as text that ``parse`` parses to the same filter."""
    if isinstance(filter_, Not):
        return f"not ({format_filter(filter_.part)})"
    if isinstance(filter_, AllOf | AnyOf):
        word = " and " if isinstance(filter_, AllOf) else " or "
        return word.join(_grouped(part) for part in filter_.parts)
    if isinstance(filter_, HasWords):
        return f"title contains {_text(' '.join(filter_.words))}"
    field = _field(filter_.path)
    if isinstance(filter_, Exists):
        return f"exists {field}"
    if isinstance(filter_, Compare):
        return f"{field} {filter_.order} {_value(filter_.value)}"
    return f"{field} {_is(filter_)}"


def _grouped(part: Filter) -> str:
    text = format_filter(part)
    return f"({text})" if isinstance(part, AllOf | AnyOf) else text


def _is(leaf: Is) -> str:
    if len(leaf.values) == 1:
        return f"= {_value(leaf.values[0])}"
    return f"in [{', '.join(map(_value, leaf.values))}]"


def _field(path: Path) -> str:
    first, *rest = path
    return ".".join([first, *(name if _plain(name) else _text(name) for name in rest)])


def _plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name.lower() not in _WORDS


def _value(value: Plain) -> str:
    if isinstance(value, str):
        return _text(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _text(value: str) -> str:
    return '"' + _ESCAPED.sub(_escape, value) + '"'


def _escape(found: re.Match[str]) -> str:
    sign = found[0]
    if sign in '"\\':
        return "\\" + sign
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else sign
