"""What no database of ours keeps: NUL characters, halves of characters, infinite numbers, endless nesting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

#: Longer numbers cannot be turned into text by Python's default, nor read by every JSON reader.
_MAX_DIGITS, _MAX_BITS = 1000, 3321


def find_unstorable(value: Any, deepest: int, depth: int = 0) -> str | None:
    """Say in a sentence what in a value, as JSON has them, cannot be kept; None if it is all well.

    PostgreSQL refuses such text with an error of its own, and SQLite keeps some of it cut short.

    Args:
        deepest: most levels of lists and objects.
        depth: of ``value`` in what holds it.
    """
    if isinstance(value, str):
        if "\0" in value:
            return f"A NUL character is in {value[:60]!r}."
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"Half a character (a lone surrogate) is in {value[:60]!r}."
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return f"A number is too large, or is no number ({value}): write it as text, or leave it out."
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return f"A number has more than {_MAX_DIGITS:,} digits: write it as text."
    if depth > deepest:
        return f"Lists and objects are nested deeper than {deepest}."
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = (*value.keys(), *value.values())
    elif isinstance(value, list):
        parts = value
    return next((wrong for part in parts if (wrong := find_unstorable(part, deepest, depth + 1))), None)
