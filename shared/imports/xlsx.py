"""Reads Excel workbooks (.xlsx) row by row, with a hardened parser and bounds on what they unpack to."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from shared.errors import InvalidManifest
from shared.imports.archives import Caps, check_zip_directory
from shared.imports.columns import count_known, is_header, number_repeated
from shared.imports.records import Numbered, check_columns
from shared.imports.xlsx_cells import (
    CellError,
    Row,
    SharedReader,
    SheetReader,
    hardened_parser,
    is_date_format,
    to_letters,
)

_PIECE_BYTES: Final = 64 * 1024
#: Of the unpacked sheet to the whole file; a small file may unpack to the least.
_MAX_RATIO: Final = 200
_MIN_UNPACKED_BYTES: Final = 128 * 2**20
_MAX_MEMBERS: Final = 20_000
#: Rows of each sheet in which the one with the columns is searched.
_MAX_BLANK_ROWS: Final = 100
#: Rows among which the one with the columns is, where titles stand above it.
_MAX_TITLE_ROWS: Final = 10
#: Format of article numbers: 123 is shown as 00123.
_ZEROS: Final = re.compile(r"0{2,20}")
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)
_NOT_A_WORKBOOK: Final = (
    "{} is no Excel workbook that can be read: open it and save it again as .xlsx, without a password."
)

#: What zipfile, expat and our own reading of numbers raise over damaged workbooks.
_UNREADABLE: Final = (
    *(zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, KeyError, ValueError, OverflowError),
    NotImplementedError,  # reason: zipfile raises it for versions and compressions that it does not support
    *(RuntimeError, struct.error),
)


def xlsx_records(file: BinaryIO, size: int, name: str) -> Iterator[Numbered]:
    """Yield the rows of a workbook as records, numbered as Excel does, without their empty cells.

    The sheet is the first one whose first row has a column with a known name, else the first one.

    Args:
        file: can be read anywhere.
        size: of the file in bytes.

    Raises:
        InvalidManifest: it is no workbook, or unpacks to far too much.
    """
    try:
        check_zip_directory(file, Caps(members=_MAX_MEMBERS))
        with zipfile.ZipFile(file) as archive:
            book = _Workbook(archive, size, name)
            yield from _records(book.rows(book.best_sheet()), name)
    except InvalidManifest:
        raise
    except _UNREADABLE as error:
        raise InvalidManifest(_NOT_A_WORKBOOK.format(name)) from error


def _records(rows: Iterator[Row], name: str) -> Iterator[Numbered]:
    columns, rows = _header(rows)
    check_columns(columns, name)
    for number, cells in rows:
        if record := _record(columns, cells):
            yield number, record


def _record(columns: list[str], cells: list[Any]) -> dict[str, Any] | str:
    record: dict[str, Any] = {}
    for n, value in enumerate(cells):
        if value is None or value == "":
            continue
        if isinstance(value, CellError):
            return f"The cell in column {to_letters(n)} holds {value}."
        if n >= len(columns) or not columns[n]:
            return f"The cell {str(value)[:60]!r} is in a column without a name: name it in the first row."
        record[columns[n]] = value
    return record


def _header(rows: Iterator[Row]) -> tuple[list[str], Iterator[Row]]:
    """Return the names of the columns, and the rows below them; titles may stand above."""
    later = list(islice((row for row in rows if any(_names(row[1]))), _MAX_TITLE_ROWS))
    if not later:
        return [], rows
    at = 0
    if not count_known(_names(later[0][1])):
        at = next((n for n, (_, cells) in enumerate(later) if is_header(_names(cells))), 0)
    return number_repeated(_names(later[at][1])), chain(later[at + 1 :], rows)


def _names(cells: list[Any]) -> list[str]:
    names = ["" if cell is None else str(cell).strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


class _Workbook:
    """A workbook whose sheets are read one row after the other."""

    def __init__(self, archive: zipfile.ZipFile, size: int, name: str) -> None:
        self._archive = archive
        self._name = name
        self._left_bytes = _MAX_RATIO * size + _MIN_UNPACKED_BYTES
        self._sheets, self._epoch = self._read_workbook()
        self._dates, self._padded = self._read_styles()
        self._shared = self._read_shared()

    def best_sheet(self) -> str:
        """Return the member of the sheet to read."""
        for sheet in self._sheets:
            rows = self.rows(sheet)
            for n, (_, cells) in zip(range(_MAX_BLANK_ROWS), rows, strict=False):
                if count_known(str(cell) for cell in cells if cell is not None):
                    return sheet
                if n > _MAX_TITLE_ROWS:
                    break
        return self._sheets[0]

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the number and cells of each row of a sheet."""
        reader = SheetReader(self._shared, self._dates, self._padded, self._epoch)
        for piece, is_last in self._pieces(sheet):
            reader.parser.Parse(piece, is_last)
            done, reader.done = reader.done, []
            yield from done

    def _pieces(self, member: str) -> Iterator[tuple[bytes, bool]]:
        with self._archive.open(member) as file:
            while piece := file.read(_PIECE_BYTES):
                self._left_bytes -= len(piece)
                if self._left_bytes < 0:
                    raise InvalidManifest(
                        f"{self._name} unpacks to over {_MAX_RATIO} times its size: save the products as CSV."
                    )
                yield piece, False
        yield b"", True

    def _walk(self, member: str, start: Callable[[str, dict[str, str]], None]) -> None:
        parser = hardened_parser()
        parser.StartElementHandler = lambda tag, attributes: start(tag.rpartition(":")[2], attributes)
        for piece, is_last in self._pieces(member):
            parser.Parse(piece, is_last)

    def _read_workbook(self) -> tuple[list[str], datetime]:
        ids: list[str] = []
        targets: dict[str, str] = {}
        dates: list[bool] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            if tag == "sheet" and attributes.get("state", "visible") == "visible":
                ids.append(next((v for k, v in attributes.items() if k.endswith(":id")), ""))
            elif tag == "workbookPr":
                dates.append(attributes.get("date1904", "0") in ("1", "true"))
            elif tag == "Relationship":
                targets[attributes.get("Id", "")] = attributes.get("Target", "")

        self._walk("xl/workbook.xml", start)
        self._walk("xl/_rels/workbook.xml.rels", start)
        members = [t.lstrip("/") if t.startswith("/") else f"xl/{t}" for t in map(targets.get, ids) if t]
        if not members:
            raise InvalidManifest(_NOT_A_WORKBOOK.format(self._name))
        return members, _EPOCH_1904 if any(dates) else _EPOCH

    def _read_styles(self) -> tuple[frozenset[int], dict[int, int]]:
        """Return the styles whose cells hold dates, and the digits of those that show leading zeros."""
        codes: dict[str, str] = {}
        used: list[str] = []
        section = [""]

        def start(tag: str, attributes: dict[str, str]) -> None:
            if tag in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
                section[0] = tag
            elif tag == "numFmt":
                codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
            elif tag == "xf" and section[0] == "cellXfs":
                used.append(attributes.get("numFmtId", "0"))

        if "xl/styles.xml" in self._archive.namelist():
            self._walk("xl/styles.xml", start)
        dates = frozenset(n for n, key in enumerate(used) if is_date_format(key, codes.get(key)))
        padded = {n: len(code) for n, key in enumerate(used) if _ZEROS.fullmatch(code := codes.get(key, ""))}
        return dates, padded

    def _read_shared(self) -> list[str]:
        if "xl/sharedStrings.xml" not in self._archive.namelist():
            return []
        reader = SharedReader(self._name)
        for piece, is_last in self._pieces("xl/sharedStrings.xml"):
            reader.parser.Parse(piece, is_last)
        return reader.texts
