"""Read the records of CSV and JSON Lines manifests, numbered by their lines.

An unreadable line is reported as an error, and reading continues with the next line.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO, NoReturn

from shared.errors import InvalidManifest

#: Number of a record in the manifest, from 1, with its fields or an error message.
Numbered = tuple[int, dict[str, Any] | str]

MAX_LINE = 1_000_000
MAX_COLUMNS = 500


class _BadLine(ValueError):
    """A line that cannot be read."""


class _NotUtf8(_BadLine):
    """A line that is not UTF-8."""


class _Lines:
    """Lines of a text file with any of the three line endings, in constant memory."""

    def __init__(self, file: BinaryIO) -> None:
        # Invalid UTF-8 is decoded to surrogates, so that it affects only its own line.
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_LINE:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(MAX_LINE)
            raise _BadLine(f"it is longer than {MAX_LINE:,} characters")
        if not line.isascii():
            try:
                line.encode()
            except UnicodeEncodeError as error:
                raise _NotUtf8(f"it is not UTF-8 text (character {error.start + 1})") from error
        return line


def json_records(file: BinaryIO) -> Iterator[Numbered]:
    """Yield the objects of a JSON Lines file.

    Raises:
        InvalidManifest: the first line is not UTF-8.
    """
    lines = _Lines(file)
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except _BadLine as error:
            if isinstance(error, _NotUtf8) and lines.number == 1:
                raise _unreadable(error) from error
            yield lines.number, f"This line cannot be read: {error}."
            continue
        if line.strip():
            yield lines.number, _json_record(line)


def _unreadable(error: Exception) -> InvalidManifest:
    return InvalidManifest(f"The first line of the manifest cannot be read: {error}. Save it as UTF-8 text.")


def _json_record(line: str) -> dict[str, Any] | str:
    try:
        record = json.loads(line, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        return f"This line is not JSON: {error}."
    return record if isinstance(record, dict) else "This line is not a JSON object."


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:40]} is too large for a number: write it as text")
    return number


def csv_records(file: BinaryIO) -> Iterator[Numbered]:
    """Yield the rows of a CSV file as records.

    Raises:
        InvalidManifest: the first line does not name the columns.
    """
    lines = _Lines(file)
    try:
        first = next(lines, "")
        reader = csv.reader(chain([first], lines), delimiter=max(",;\t", key=first.count), strict=True)
        columns = [column.strip() for column in next(reader, [])]
    except (csv.Error, _BadLine) as error:
        raise _unreadable(error) from error
    if len(columns) > MAX_COLUMNS or "product_id" not in columns:
        raise InvalidManifest(
            f"The first line of a CSV manifest names its columns, at most {MAX_COLUMNS}; one is `product_id`."
        )
    if repeated := next((name for n, name in enumerate(columns) if name and name in columns[:n]), None):
        raise InvalidManifest(f"The manifest has the column `{repeated}` twice: rename one.")
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, _BadLine) as error:
            # The reader continues with the next line.
            yield lines.number, f"This line cannot be read: {error}."
            continue
        if len(cells) > len(columns):
            yield lines.number, f"This row has {len(cells)} cells, and there are {len(columns)} columns."
        elif any(cells):
            yield lines.number, flat_record(dict(zip(columns, cells, strict=False)))


def flat_record(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Convert flat cells to a record: ``title_de`` is a title, ``a|b`` in ``tags`` are two tags.

    Cells that are no text are kept unchanged; empty ones are left out.
    """
    record: dict[str, Any] = {}
    localised: dict[str, dict[str, Any]] = {}
    for column, cell in cells.items():
        value = cell.strip() if isinstance(cell, str) else cell
        if value is None or value == "":
            continue
        if column in ("tags", "images") and isinstance(value, str):
            record[column] = [part.strip() for part in value.split("|") if part.strip()]
        elif column.startswith("title_"):
            localised.setdefault("titles", {})[column[len("title_") :]] = value
        elif column.startswith("category_"):
            localised.setdefault("categories", {})[column[len("category_") :]] = value
        else:
            record[column] = value
    for field, found in localised.items():
        given = record.setdefault(field, {})
        if isinstance(given, dict):  # a text here is invalid and rejected when the record is read
            record[field] = {**given, **found}
    return record
