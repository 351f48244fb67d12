"""A filter as it was understood: written in its own language, it is the same filter again."""

from __future__ import annotations

import random

import pytest

from shared.filters import format_filter, parse
from tests.filter_builders import random_filter


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("price 10..20", "price >= 10 and price <= 20"),
        ("colour IN ['red','blue'] AND (price<5 or tags contains 'sale')", None),
        ("not exists attributes.size.width", "not (exists attributes.size.width)"),
        ("attributes.\"a b\".'in' != 'x\\\\y\"'", None),
        ('category = "caf\\u00e9\\n"', 'category = "café\\u000a"'),
        ("title contains 'Eiche, STUHL'", 'title contains "eiche stuhl"'),
        ("attributes.n = 0.25 or attributes.n = 1e-7 or attributes.n > -3", None),
        ('attributes.s >= "2024-05-01"', None),
    ],
)
def test_written_and_read_again(text: str, written: str | None) -> None:
    understood = parse(text)
    assert parse(format_filter(understood)) == understood
    if written is not None:
        assert format_filter(understood) == written


def test_any_filter_comes_back_the_same() -> None:
    chance = random.Random(7)
    for _ in range(300):
        understood = parse(random_filter(chance)[0])
        assert parse(format_filter(understood)) == understood
