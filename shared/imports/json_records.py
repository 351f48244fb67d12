"""Reads JSON Lines and JSON arrays, an object after the other, in constant memory."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, Final, NoReturn, TextIO

from shared.errors import InvalidManifest
from shared.imports.json_arrays import find_array
from shared.imports.records import Numbered, unreadable
from shared.imports.text import (
    MAX_LINE,
    BadLine,
    Encoding,
    Lines,
    UndecodableLine,
    check_text,
    open_text,
)

_PIECE_CHARS: Final = 64 * 1024
_SPACE: Final = re.compile(r"[\s,]*")
_TOO_LONG: Final = f"it has over {MAX_LINE:,} characters, or a bracket or quote that is never closed"


def json_records(
    file: BinaryIO, encoding: Encoding = "utf-8", name: str = "The manifest"
) -> Iterator[Numbered]:
    """Yield the objects of a JSON Lines file, numbered by their lines; close the file at the end.

    Raises:
        InvalidManifest: it is no text from its beginning.
    """
    with closing(Lines(file, encoding)) as lines:
        yield from _line_records(lines, name)


def _line_records(lines: Lines, name: str) -> Iterator[Numbered]:
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except BadLine as error:
            if isinstance(error, UndecodableLine) and lines.number == 1:
                raise unreadable(name, error) from error
            yield lines.number, f"This line cannot be read: {error}."
            continue
        if line.strip():
            yield lines.number, _record(line.strip().removesuffix(","))


def array_records(file: BinaryIO, encoding: Encoding, name: str) -> Iterator[Numbered]:
    """Yield the objects of a JSON document, numbered from 1; close the file at the end.

    They are the elements of its array, which may be a value of outer objects, or objects one after another
    that are spread over several lines each.

    Raises:
        InvalidManifest: it is no array, or is damaged: what follows a damaged object cannot be found.
    """
    with open_text(file, encoding) as text:
        yield from _array_records(text, encoding, name)


def _array_records(text: TextIO, encoding: Encoding, name: str) -> Iterator[Numbered]:
    buffer = text.read(_PIECE_CHARS).removeprefix("\ufeff")
    start, is_array = find_array(buffer), True
    if start is None:
        start, is_array = 0, False
        if not buffer.lstrip().startswith("{"):
            raise InvalidManifest(f"{name} is no JSON array of products.")
    at, number, is_whole = start, 0, False
    while True:
        at = _SPACE.match(buffer, at).end()  # type: ignore[union-attr]  # it matches the empty text too
        if at < len(buffer) and buffer[at] == "]" and is_array:
            return
        if at < len(buffer):
            try:
                record, end = _DECODER.raw_decode(buffer, at)
            except (ValueError, RecursionError) as error:
                if (skipped := _end_of(buffer, at, error)) is not None:
                    number, at = number + 1, skipped
                    yield number, f"This element cannot be read: {_reason(error)}."
                    continue
                if is_whole or len(buffer) - at > MAX_LINE:
                    is_long = len(buffer) - at > MAX_LINE and isinstance(error, json.JSONDecodeError)
                    raise _damaged(name, number + 1, _TOO_LONG if is_long else _reason(error)) from error
            else:
                number += 1
                yield number, _checked(record, buffer[at:end], encoding)
                at = end
                continue
        piece = text.read(_PIECE_CHARS)
        if not piece and is_whole:
            if not is_array and at >= len(buffer):
                return
            raise InvalidManifest(f"{name} ends after product {number}, before its closing bracket.")
        is_whole = not piece
        buffer, at = buffer[at:] + piece, 0


def _end_of(buffer: str, at: int, error: Exception) -> int | None:
    """Return where an element ends that is well-formed and holds a number that is refused; else None."""
    if isinstance(error, json.JSONDecodeError | RecursionError):
        return None
    try:
        return _LENIENT.raw_decode(buffer, at)[1]
    except (ValueError, RecursionError):
        return None


def _checked(record: Any, source: str, encoding: Encoding) -> dict[str, Any] | str:
    if not isinstance(record, dict):
        return "This element is not a JSON object."
    try:
        check_text(source, encoding)
    except UndecodableLine as error:
        return f"This element cannot be read: {error}."
    if isinstance(node := record.get("node"), dict) and record.keys() <= {"node", "cursor"}:
        return {**node}  # an edge of GraphQL
    return {**record}


def _damaged(name: str, number: int, why: str) -> InvalidManifest:
    return InvalidManifest(f"{name} cannot be read at product {number}: {why}.")


def _reason(error: Exception) -> str:
    """Return why a record is refused, in words for people who do not know Python."""
    if isinstance(error, RecursionError):
        return "it nests lists and objects too deeply, or is cut off"
    if not isinstance(error, json.JSONDecodeError) and "integer string conversion" in str(error):
        return "it has a number of over 4,300 digits: write it as text"
    return str(error)[:200]


def _record(line: str) -> dict[str, Any] | str:
    try:
        record = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return f"This line is not JSON: {_reason(error)}."
    return record if isinstance(record, dict) else "This line is not a JSON object."


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large for a number: write it as text")
    return number


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for n, key in enumerate(keys) if key in keys[:n])
        raise ValueError(f"it has the key {twice[:60]!r} twice: remove one")
    return found


_DECODER: Final = json.JSONDecoder(
    parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_unique_keys
)
#: Takes every number as its digits.
_LENIENT: Final = json.JSONDecoder(parse_constant=str, parse_float=str, parse_int=str)
