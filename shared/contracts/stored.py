"""Read and write stored rows across versions, and find values that the databases cannot store.

During an upgrade, processes of two versions share one database. Stored JSON is therefore read tolerantly:
unknown fields are ignored at every depth. Requests are validated strictly.

A field that must not be ignored requires a minimum version. Its model lists it in ``NEEDED_BY``, the writer
puts ``"needs": N`` into the row, and a worker claims only rows that need ``READS`` or less. A newer worker
claims the others. To add such a field, increase ``READS`` and list the field with that version.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.contracts.base import Contract
from shared.errors import UnreadableRow

Model = TypeVar("Model", bound=BaseModel)
Row = TypeVar("Row")
View = TypeVar("View")

_log = logging.getLogger(__name__)

#: The newest version of stored rows that this program can read.
READS = 2
#: Key of the required version in a row; rows without it require version 1.
NEEDS = "needs"


#: Longer integers exceed Python's default conversion limit, and not every JSON parser reads them.
_MAX_DIGITS, _MAX_BITS = 1000, 3321


def read_stored(model: type[Model], data: Any, what: str) -> Model:
    """Read stored JSON as ``model``, ignoring fields that this version does not know.

    Args:
        what: name of the row for the error, such as ``The options of this search``.

    Raises:
        UnreadableRow: a field is missing or invalid, or the JSON is no object.
    """
    try:
        return model.model_validate(data, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = f"{field}: {first['msg']}" if field else first["msg"]
        raise UnreadableRow(
            f"{what} cannot be read ({reason}): another version wrote it, or it is damaged."
        ) from error


def readable_views(rows: Iterable[Row], view: Callable[[Row], View], what: str) -> list[View]:
    """Return the views of the rows that can be read; log the others, so that one cannot fail a whole list.

    Args:
        view: converts a row to its contract.
        what: name of the rows for the log, such as ``golden query``.
    """
    found: list[View] = []
    for row in rows:
        try:
            found.append(view(row))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            identity = getattr(row[0] if isinstance(row, Sequence) else row, "id", None)
            _log.warning(
                "left out a row that cannot be read",
                extra={"what": what, "id": identity, "reason": type(error).__name__},
            )
    return found


def look_up(data: Any, *keys: str) -> Any:
    """Return the value under nested keys of stored JSON; None if a level is missing or no object."""
    for key in keys:
        data = as_object(data).get(key)
    return data


def stored(contract: Contract, *, exclude: set[str] | None = None) -> dict[str, Any]:
    """Return the contract as JSON to store, with the version that its fields require."""
    found = contract.model_dump(mode="json", exclude=exclude)
    version = needed_by(type(contract), contract.model_dump(exclude_defaults=True, exclude=exclude))
    return found if version <= 1 else {**found, NEEDS: version}


def needed_by(model: type[Contract], fields: Iterable[str]) -> int:
    """Return the version of stored rows that these fields of the model require."""
    return max((model.NEEDED_BY.get(name, 1) for name in fields), default=1)


def needs_of(data: Any) -> int:
    """Return the version that stored JSON requires; 1 if it has none or an invalid one."""
    version = data.get(NEEDS) if isinstance(data, dict) else None
    return version if isinstance(version, int) and not isinstance(version, bool) else 1


def as_object(data: Any) -> dict[str, Any]:
    """Return stored JSON if it is an object, else an empty one, so that one row cannot fail a whole list."""
    return data if isinstance(data, dict) else {}


def iterate_texts(data: Any) -> Iterator[str]:
    """Yield every text in stored JSON, at every depth: the possible references of a row of any version."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from iterate_texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from iterate_texts(value)


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
