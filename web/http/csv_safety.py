"""Escape CSV cells so that spreadsheets never run untrusted text as a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

#: Characters that start a formula; spreadsheets in East Asian locales also accept the full-width forms.
_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")


def safe_cell(text: str) -> str:
    """Escape ``text`` so that a spreadsheet shows it and does not run it.

    A cell that could be a formula gets a leading apostrophe, even after blanks. This includes negative
    numbers: clients that need numbers read the JSON form. NUL characters, which truncate a cell in some
    programs, are removed. The CSV writer quotes separators and quotes.
    """
    text = text.replace("\0", "")
    # Check the first non-blank character, and the very first one because tabs and line breaks are blanks.
    starts = {text[:1], text.lstrip()[:1]}
    return "'" + text if starts & _FORMULA_STARTS else text


def csv_line(cells: Sequence[str]) -> str:
    """Build a CSV line, with its line end, from escaped cells."""
    line = io.StringIO()
    csv.writer(line).writerow([safe_cell(cell) for cell in cells])
    return line.getvalue()
