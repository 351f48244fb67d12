"""What all readers of manifests yield: records that are numbered, with cells by the names of their columns.

A record that cannot be read is yielded as the sentence that says why; the records after it are read all
the same.
"""

from __future__ import annotations

from typing import Any, Final

from shared.errors import InvalidManifest
from shared.imports.text import MAX_LINE as MAX_LINE  # part of the same set of limits
from shared.imports.text import UndecodableLine

#: A record's number in the manifest, from 1, with its cells by column, or its error.
Numbered = tuple[int, dict[str, Any] | str]

MAX_COLUMNS: Final = 500


def unreadable(name: str, error: Exception) -> InvalidManifest:
    """Return the error of a text file whose beginning cannot be read."""
    advice = " Save it as UTF-8 text." if isinstance(error, UndecodableLine) else ""
    return InvalidManifest(f"The first line of {name} cannot be read: {error}.{advice}")


def check_columns(columns: list[str], name: str) -> None:
    """Raise InvalidManifest if there are too many columns, or two of one name."""
    if len(columns) > MAX_COLUMNS:
        raise InvalidManifest(f"{name} has {len(columns):,} columns, over the limit of {MAX_COLUMNS}.")
    if twice := next((c for n, c in enumerate(columns) if c and c in columns[:n]), None):
        raise InvalidManifest(f"{name} has the column `{twice}` twice: give one another name.")
