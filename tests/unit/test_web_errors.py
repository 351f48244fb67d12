"""The error table, the translation of pydantic's complaints, and the version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import shared.errors
import web
from shared.contracts import SearchOptions
from shared.errors import InvalidInput
from web.http.bodies import parse_model
from web.http.errors import STATUS

ROOT = Path(__file__).parents[2]


def test_the_status_table_is_the_tree_drawn_in_shared_errors() -> None:
    drawn = re.findall(r"^.*?\w+ +([a-z_]+) +(\d{3})", shared.errors.__doc__ or "", re.MULTILINE)
    assert len(drawn) > 20
    assert {code: int(status) for code, status in drawn} == {
        code: status for code, status in STATUS.items() if code != "internal"
    }


def test_version_is_the_one_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert web.__version__ == project["version"]


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        ({"top_k": 0}, "top_k", "greater than or equal to 1"),
        ({"top_k": 1_000_000_000}, "top_k", "less than or equal to 1000"),
        ({"colour": "red"}, "colour", "Unknown field 'colour'"),
        ({"box": [0.5, 0, 0.5, 1]}, "box", "x0 < x1"),
        ({"min_score": "nan"}, "min_score", "finite"),
        ({"catalogue": "a'; --"}, "catalogue", "match pattern"),
    ],
)
def test_a_wrong_field_is_named(data: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_model(SearchOptions, data)
    assert caught.value.field == field
    assert words in caught.value.message
    assert "pydantic" not in caught.value.message
