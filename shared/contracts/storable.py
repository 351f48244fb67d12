"""Find values that the databases cannot store: NUL, lone surrogates, infinite numbers, deep nesting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

#: Longer integers exceed Python's default conversion limit, and not every JSON parser reads them.
_MAX_DIGITS, _MAX_BITS = 1000, 3321


def find_unstorable(value: Any, max_depth: int, depth: int = 0) -> str | None:
    """Return a sentence about the first part of a JSON value that cannot be stored, or None.

    PostgreSQL rejects such text with an error of its own, and SQLite truncates some of it.

    Args:
        max_depth: maximum number of nested lists and objects.
        depth: nesting depth of ``value``.
    """
    if isinstance(value, str):
        if "\0" in value:
            return f"{value[:60]!r} contains a NUL character."
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"{value[:60]!r} contains half a character (a lone surrogate)."
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return f"A number is too large or not a number ({value}): write it as text, or omit it."
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return f"A number has more than {_MAX_DIGITS:,} digits: write it as text."
    if depth > max_depth:
        return f"Lists and objects are nested deeper than {max_depth}."
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = (*value.keys(), *value.values())
    elif isinstance(value, list):
        parts = value
    return next((error for part in parts if (error := find_unstorable(part, max_depth, depth + 1))), None)
