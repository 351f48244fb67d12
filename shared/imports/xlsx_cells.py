"""Cells of Excel workbooks: the parsers of shared texts and sheets, and the values of cells."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from xml.parsers import expat

from shared.errors import InvalidManifest
from shared.imports.records import MAX_COLUMNS
from shared.imports.text import MAX_LINE

#: Characters of all different texts together, which are kept in memory.
_MAX_SHARED_CHARS: Final = 64_000_000
#: Longest whole number that is read in full.
_MAX_DIGITS: Final = 100
#: Built-in formats of numbers that are dates or times.
_DATE_FORMATS: Final = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_QUOTED: Final = re.compile(r'"[^"]*"|\[[^\[\]]*\]|\\.')
#: How the file format writes characters that XML has not, or that would be lost.
_ESCAPED: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")

#: Number of a row, and its cells.
Row = tuple[int, list[Any]]


class CellError(str):
    """What a cell holds that cannot be read, such as the error ``#N/A`` of a formula, and what to do."""


def hardened_parser() -> expat.XMLParserType:
    """Return a parser that refuses document types and entities."""

    def refuse(*_: Any) -> None:
        raise InvalidManifest("The workbook declares a document type or an entity, which is refused.")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    return parser


def _parser(
    start: Callable[[str, dict[str, str]], None], end: Callable[[str], None], add: Callable[[str], None]
) -> expat.XMLParserType:
    """Return a hardened parser with handlers of tags and text."""
    parser = hardened_parser()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, add
    return parser


class SharedReader:
    """The texts that cells of all sheets refer to."""

    def __init__(self, name: str) -> None:
        self.texts: list[str] = []
        self._name = name
        self._parts: list[str] = []
        self._chars = 0
        self._is_text = self._is_phonetic = False
        self.parser = _parser(self._start, self._end, self._add)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        self._is_phonetic = self._is_phonetic or tag == "rPh"
        self._is_text = tag == "t" and not self._is_phonetic

    def _end(self, tag: str) -> None:
        tag = tag.rpartition(":")[2]
        self._is_text = False
        if tag == "rPh":
            self._is_phonetic = False
        elif tag == "si":
            self.texts.append("".join(self._parts))
            self._parts = []

    def _add(self, text: str) -> None:
        if self._is_text:
            self._chars += len(text)
            if self._chars > _MAX_SHARED_CHARS:
                raise InvalidManifest(
                    f"{self._name} has over {_MAX_SHARED_CHARS:,} characters of text: save it as CSV."
                )
            self._parts.append(text)


class SheetReader:
    """The cells of one sheet."""

    def __init__(
        self, shared: list[str], dates: frozenset[int], padded: dict[int, int], epoch: datetime
    ) -> None:
        self.done: list[Row] = []
        self._shared, self._dates, self._padded, self._epoch = shared, dates, padded, epoch
        self._number = 0
        self._cells: list[Any] = []
        self._at = -1
        self._type = self._style = ""
        self._parts: list[str] = []
        self._size = 0
        self._has_formula = False
        self._is_value = self._is_phonetic = False
        self.parser = _parser(self._start, self._end, self._add)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if tag == "row":
            self._number = int(attributes.get("r", self._number + 1))
            self._cells, self._at = [], -1
        elif tag == "c":
            stated = _column(attributes.get("r", ""))
            self._at = stated if stated >= 0 else self._at + 1
            self._size, self._has_formula = 0, False
            self._type, self._style, self._parts = attributes.get("t", "n"), attributes.get("s", "0"), []
        elif tag == "rPh":
            self._is_phonetic = True
        elif tag == "f":
            self._is_value, self._has_formula = False, True
        else:
            self._is_value = tag == "v" or (tag == "t" and not self._is_phonetic)

    def _end(self, tag: str) -> None:
        tag = tag.rpartition(":")[2]
        if tag in ("v", "t"):
            self._is_value = False
        elif tag == "rPh":
            self._is_phonetic = False
        elif tag == "c":
            value = self._value("".join(self._parts))
            # Cells far to the right count as one that has no column, which the row reports.
            at = min(self._at, MAX_COLUMNS)
            if value is not None:
                self._cells += [None] * (at + 1 - len(self._cells))
                self._cells[at] = value
        elif tag == "row":
            self.done.append((self._number, self._cells))

    def _add(self, text: str) -> None:
        if self._is_value:
            self._size += len(text)
            if self._size <= MAX_LINE:
                self._parts.append(text)

    def _value(self, text: str) -> Any:
        if self._size > MAX_LINE:
            return CellError(f"a text of over {MAX_LINE:,} characters: shorten it")
        if self._type == "s":
            number = int(text) if text.isdecimal() and len(text) < 10 else -1
            if 0 <= number < len(self._shared):
                return _text(self._shared[number])
            return CellError("a text that the workbook lacks: open it and save it again")
        if self._type in ("inlineStr", "str", "d"):
            return _text(text)
        if self._type == "b":
            return text == "1"
        if self._type == "e":
            return CellError(f"the error {text}: correct the formula")
        if not text:
            # Programs that write formulas without computing them leave the value empty.
            missing = "a formula without its value: open the workbook in Excel or LibreOffice and save it"
            return CellError(missing) if self._has_formula else None
        style = int(self._style) if self._style.isdecimal() else 0
        if style in self._dates:
            return _date(text, self._epoch)
        value = _number(text)
        digits = self._padded.get(style)
        return f"{value:0{digits}d}" if digits and isinstance(value, int) else value


def _text(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text).strip()


def _number(text: str) -> int | float | str:
    """Return a number with the 15 digits that Excel shows, not the 17 that it stores."""
    if text.isdecimal() and len(text) <= _MAX_DIGITS:
        return int(text)  # in full: other programs than Excel store more digits, of ids for example
    try:
        value = float(text)
    except ValueError:
        return text
    if value.is_integer() and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.15g}")


def _date(days: str, epoch: datetime) -> str:
    try:
        moment = epoch + timedelta(seconds=round(float(days) * 86_400))
    except (OverflowError, ValueError):
        return days
    if moment.time() == datetime.min.time():
        return moment.date().isoformat()
    return moment.isoformat()


def is_date_format(key: str, code: str | None) -> bool:
    if code is not None:
        letters = set(_QUOTED.sub("", code).lower())
        # An m alone is a month, unless the code has places for digits.
        return bool(letters & set("dyh")) or ("m" in letters and not letters & set("0#"))
    return key.isdecimal() and int(key) in _DATE_FORMATS


def _column(place: str) -> int:
    """Return the number from 0 of the column in a place such as ``AB12``."""
    number = 0
    for letter in place[:4]:
        if not letter.isalpha():
            break
        number = 26 * number + ord(letter.upper()) - 64
    return number - 1


def to_letters(number: int) -> str:
    """Return the letters of a column, as Excel shows them."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(65 + rest) + text
    return text
