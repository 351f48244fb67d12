"""No regular expression takes more than linear time, whatever text a caller sends (C1, H1)."""

from __future__ import annotations

import re

import pytest

from shared.access import origins
from tests.pattern_inputs import PACKAGES, ROOT, Used, growth, patterns
from web.http.bodies import parse_json

#: A linear pattern grows 4 times with a text 4 times as long, a quadratic one 16 times.
_MAX_GROWTH = 9.0
USED = list(patterns())


@pytest.mark.parametrize("used", USED, ids=[used.where for used in USED])
def test_no_pattern_is_worse_than_linear(used: Used) -> None:
    ratio, text = growth(used, _MAX_GROWTH)
    assert ratio <= _MAX_GROWTH, f"{used.where}: {used.pattern.pattern!r} on {text!r}..."


@pytest.mark.parametrize(
    "pattern",
    [
        r'"(?:[^"\\]|\\.)*"',  # H1, on `"` and then many `\"`
        rb"\xff+[\x01-\xcf\xd8-\xfe]",  # C1, on a run of FF
        r"\s+$",
        r"^(\w+\s?)*$",
        r"(a+)+b",
    ],
)
def test_the_measure_finds_what_was_found_by_attack(pattern: str | bytes) -> None:
    ratio, _ = growth(Used("here", re.compile(pattern), at_one_place=False), _MAX_GROWTH)
    assert ratio > _MAX_GROWTH


def test_all_are_found() -> None:
    assert len(USED) > 30
    assert any(used.where.startswith("web/http/bodies.py") for used in USED)


def test_patterns_of_contracts_run_on_a_linear_engine() -> None:
    """`pattern=` of pydantic is the regex of Rust, which does not backtrack, unless a model wants more."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert "regex_engine" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 499_000, '"' * 999_000, '"' + "[" * 999_000, "[" + '"\\' * 400_000]
)
def test_a_body_of_the_largest_size_is_read_in_linear_time(text: str) -> None:
    """Quadratic, each would take hours: this test would not end within the suite's limit."""
    with pytest.raises(Exception, match=r"JSON|twice"):
        parse_json(text)


@pytest.mark.parametrize("name", ["a" * 60_000 + "!", "a-" * 30_000, "a." * 30_000 + "!", "-" * 60_000])
def test_names_of_origins_are_read_in_linear_time(name: str) -> None:
    """Quadratic, each would take minutes; longer than any host, as ``idna`` refuses those before."""
    assert origins._HOST.fullmatch(name) is None
    assert origins._HOST.fullmatch("www.xn--bcher-kva.example")
