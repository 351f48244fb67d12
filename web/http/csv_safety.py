"""Cells of CSV files that people open in a spreadsheet: no text of a stranger becomes a formula there."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

#: What makes a spreadsheet read a cell as a formula; the wide forms do so in East Asian locales.
_FORMULA_STARTS = frozenset("=+-@\t\r\n＝＋－＠")


def safe_cell(text: str) -> str:
    """Return ``text`` as a cell that a spreadsheet shows and does not run.

    A cell that could be a formula gets an apostrophe in front, also when blanks precede it. Every such
    cell does, a negative number too: who needs numbers back reads the JSON form. NUL characters, which
    cut a cell short in some programs, are left out. Separators and quotes are the CSV writer's to quote.
    """
    text = text.replace("\0", "")
    # The first character that is no blank, or the first of all: a tab or line break is a blank.
    starts = {text[:1], text.lstrip()[:1]}
    return "'" + text if starts & _FORMULA_STARTS else text


def csv_line(cells: Sequence[str]) -> str:
    """Return a line of a CSV file, its end included, each cell made safe."""
    line = io.StringIO()
    csv.writer(line).writerow([safe_cell(cell) for cell in cells])
    return line.getvalue()
