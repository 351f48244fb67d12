"""Reads CSV and TSV with any of six delimiters, and names the line where a quote was opened."""

from __future__ import annotations

import csv
import string
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import Any, BinaryIO, Final

from shared.errors import InvalidManifest
from shared.imports.columns import count_known, is_header, number_repeated
from shared.imports.records import MAX_COLUMNS, Numbered, check_columns, unreadable
from shared.imports.text import BadLine, Encoding, Lines

_DELIMITERS: Final = ",;\t|^~"
#: Lines without a cell that may stand before the one with the columns.
_MAX_BLANK_LINES: Final = 100
#: Characters of a record that are kept to find the quote that was opened and not closed.
_MAX_KEPT: Final = 4_000_000
#: Lines that may stand above the columns, such as a title and a date.
_MAX_TITLE_LINES: Final = 10
#: White space around cells, and the mark with which old programs end files.
_CELL_SPACE: Final = string.whitespace + "\u00a0\u2007\u202f\u200b\u2060\ufeff\x1a"


class _Record(Lines):
    """Lines of a CSV file that keeps those of the current record."""

    def __init__(self, file: BinaryIO, encoding: Encoding) -> None:
        super().__init__(file, encoding)
        self._kept: list[str] = []
        self._pushed: list[str] = []
        self._size = 0
        self.first = 1

    def begin(self) -> None:
        """Begin a record at the next line."""
        self._kept.clear()
        self._size, self.first = 0, self.number + 1

    def push_back(self, lines: Sequence[str]) -> None:
        """Put lines back that were read last, to be read again."""
        self._pushed = list(reversed(lines))
        self.number -= len(lines)

    def __next__(self) -> str:
        if self._pushed:
            line = self._pushed.pop()
            self.number += 1
        else:
            line = super().__next__()
        self._size += len(line)
        if self._size <= _MAX_KEPT:
            self._kept.append(line)
        return line

    @property
    def single(self) -> str | None:
        """The record's line, None if it has several."""
        return self._kept[0] if len(self._kept) == 1 else None

    def open_quote_line(self, delimiter: str) -> int | None:
        """Return the number of the line that opened the quote which was open when the record ended."""
        opened: int | None = None
        begins = True
        for number, line in enumerate(self._kept, start=self.first):
            at = 0
            while at < len(line):
                char = line[at]
                if opened is not None:
                    if char == '"':
                        if line[at + 1 : at + 2] == '"':
                            at += 1
                        else:
                            opened, begins = None, False
                elif char == '"' and begins:
                    opened = number
                else:
                    begins = char == delimiter or char in "\r\n"
                at += 1
        return opened


def csv_columns(file: BinaryIO, encoding: Encoding, name: str) -> list[str]:
    """Return the columns that the first line names. Raises InvalidManifest."""
    with closing(_Record(file, encoding)) as lines:
        return _header(lines, name)[0]


def csv_records(
    file: BinaryIO, encoding: Encoding = "utf-8", name: str = "The manifest"
) -> Iterator[Numbered]:
    """Yield the rows of a CSV file as records, without their empty cells; close the file at the end.

    Args:
        name: of the file, for errors.

    Raises:
        InvalidManifest: its first line does not name columns.
    """
    with closing(_Record(file, encoding)) as lines:
        yield from _records(lines, name)


def _records(lines: _Record, name: str) -> Iterator[Numbered]:
    columns, delimiter = _header(lines, name)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except BadLine as error:
            yield lines.number, f"This line cannot be read: {error}."
            continue
        except csv.Error as error:
            plain = _unquoted(lines.single, delimiter, len(columns))
            if plain is None:
                # The reader goes on with the next line.
                yield _quote_problem(lines, delimiter, error)
                continue
            cells = plain
        while len(cells) > len(columns) and not cells[-1].strip():
            cells.pop()  # spreadsheets end lines with empty cells
        if len(cells) > len(columns):
            yield lines.number, f"This row has {len(cells)} cells, and there are {len(columns)} columns."
            continue
        record = {c: v for c, cell in zip(columns, cells, strict=False) if (v := _plain(cell))}
        if record:
            yield lines.number, _named(record)


def _plain(cell: str) -> str:
    """Return the text of a cell; ``="00123"`` is how exports keep Excel from making a number of it."""
    text = cell.strip(_CELL_SPACE)
    return text[2:-1].replace('""', '"') if text.startswith('="') and text.endswith('"') else text


def _named(record: dict[str, Any]) -> dict[str, Any] | str:
    if (cell := record.get("")) is not None:
        return f"The cell {cell[:60]!r} is in a column without a name: name the column, or empty the cell."
    return record


def _header(lines: _Record, name: str) -> tuple[list[str], str]:
    """Read up to the line with the columns; return them and the delimiter."""
    try:
        first, stated = _first_line(lines)
        delimiter = stated or _best_delimiter(first)
        reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
        columns = number_repeated(column.strip().strip("\ufeff") for column in next(reader, []))
    except (csv.Error, BadLine) as error:
        raise unreadable(name, error) from error
    if not any(columns):
        raise InvalidManifest(f"{name} is empty: its first line names the columns, one of them product_id.")
    while columns and not columns[-1]:
        columns.pop()
    check_columns(columns, name)
    return columns, delimiter


def _first_line(lines: _Record) -> tuple[str, str | None]:
    """Return the line with the columns, and the delimiter that a line ``sep=;`` before it states."""
    stated = None
    for _ in range(_MAX_BLANK_LINES):
        line = next(lines, "")
        text = line.strip().strip('"')
        if text.lower().startswith("sep=") and len(text) == 5:
            stated = text[4]
        elif line == "" or line.strip("\r\n\t ,;|"):
            return _skip_titles(lines, line), stated
    raise BadLine(f"the first {_MAX_BLANK_LINES} lines are empty")


def _skip_titles(lines: _Record, first: str) -> str:
    """Return the line with the columns where titles, such as ``Price list 2026``, stand above it.

    The first line counts unless it has no known column and a later one clearly names some.
    """
    if first == "" or count_known(_split(first)):
        return first
    later = list(islice(lines, _MAX_TITLE_LINES))
    found = next((n for n, line in enumerate(later) if is_header(_split(line))), None)
    lines.push_back(later if found is None else later[found + 1 :])
    return first if found is None else later[found]


def _split(line: str) -> list[str]:
    """Return the cells of a line by its best delimiter."""
    try:
        return next(csv.reader([line], delimiter=_best_delimiter(line)), [])
    except csv.Error:
        return []


def _best_delimiter(line: str) -> str:
    """Choose the delimiter that gives the most columns with known names, then the most columns."""

    def rank(delimiter: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([line], delimiter=delimiter))
        except (csv.Error, StopIteration):
            return 0, 0
        return count_known(cells[:MAX_COLUMNS]), len(cells)

    return max(_DELIMITERS, key=rank)


def _unquoted(line: str | None, delimiter: str, columns: int) -> list[str] | None:
    """Split a line whose quotes are part of its texts, as tab-separated feeds may have them."""
    if line is None or delimiter not in "\t|":
        return None
    cells = line.rstrip("\r\n").split(delimiter)
    return cells if len(cells) == columns else None


def _quote_problem(lines: _Record, delimiter: str, error: csv.Error) -> tuple[int, str]:
    """Return the number and sentence of a record whose quotes do not match."""
    first, last = lines.first, lines.number
    if "field limit" in str(error):
        return first, f"A cell of this row has over {csv.field_size_limit():,} characters: shorten it."
    opened = lines.open_quote_line(delimiter)
    ends = "is never closed" if opened is not None else f"ends in line {last} in the middle of a cell"
    if opened is None and first == last:
        return first, f"This line cannot be read: {error}. Write a quote within a cell twice."
    at = first if opened is None else opened
    span = f"line {first} was" if first == last else f"lines {first} to {last} were"
    return at, (
        f"The quote opened in line {at} {ends}, so {span} not read. Close it, or write a quote within a "
        "cell twice."
    )
