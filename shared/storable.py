"""What no database of ours keeps: NUL characters, halves of characters, and what is nested without end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def unstorable(value: Any, deepest: int, depth: int = 0) -> str | None:
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
    if depth > deepest:
        return f"Lists and objects are nested deeper than {deepest}."
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = (*value.keys(), *value.values())
    elif isinstance(value, list):
        parts = value
    return next((wrong for part in parts if (wrong := unstorable(part, deepest, depth + 1))), None)
