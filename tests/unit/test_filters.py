"""The filter language: what is read, what is refused and where, and what injection comes to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.errors import Conflict, InvalidInput
from shared.filters import both, category_is, parse
from shared.filters.facts import order_key, token
from shared.filters.tree import AllOf, AnyOf, Compare, Exists, Filter, HasWords, Is, Not
from worker.vector_index.filters import to_expression

CATEGORY, PRICE, MATERIAL = ("category",), ("price",), ("attributes", "material")
CHAIR = Is(CATEGORY, ("chair",))
CHEAP = Compare(PRICE, "<", 100.0)
NEW_FIELDS = ["key", "product_id", "category", "price", "facts", "ordered"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('category = "chair"', CHAIR),
        ("category == 'chair'", CHAIR),
        ("price < 100", CHEAP),
        ("price < 1e2", CHEAP),
        ('category = "chair" and price < 100 or exists price', AnyOf((AllOf((CHAIR, CHEAP)), Exists(PRICE)))),
        (
            'category = "chair" AND (price < 100 Or exists price)',
            AllOf((CHAIR, AnyOf((CHEAP, Exists(PRICE))))),
        ),
        ('not category = "chair" and price < 100', AllOf((Not(CHAIR), CHEAP))),
        ('category != "chair"', AllOf((Exists(CATEGORY), Not(CHAIR)))),
        ('category not in ["chair"]', AllOf((Exists(CATEGORY), Not(CHAIR)))),
        ("price 10..50", AllOf((Compare(PRICE, ">=", 10.0), Compare(PRICE, "<=", 50.0)))),
        ("price between 10 and 50", AllOf((Compare(PRICE, ">=", 10.0), Compare(PRICE, "<=", 50.0)))),
        ("category = 007", Is(CATEGORY, ("007",))),
        ('attributes.material in ["oak", 12, "12", true]', Is(MATERIAL, ("oak", 12.0, 12.0, "true"))),
        ("attributes.größe > -2.5", Compare(("attributes", "größe"), ">", -2.5)),
        ('attributes.in."a.b" = 1', Is(("attributes", "in", "a.b"), (1.0,))),
        (r'attributes.material = "\u00e9\"\\\n"', Is(MATERIAL, ('é"\\\n',))),
        (r"attributes.material = 'it\'s'", Is(MATERIAL, ("it's",))),
        (r'attributes.material = "\ud83e\ude91 oak"', Is(MATERIAL, ("\U0001fa91 oak",))),
        ('title contains "Café 椅子"', HasWords(("cafe", "椅子"))),
        ('colour in ["red", "blue"]', Is(("colour",), ("red", "blue"))),
    ],
)
def test_what_is_read(text: str, expected: Filter) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "character 1, its end: expected"),
        ("price <", 'character 8, its end: expected a "text" or a number'),
        ("price < 5) or (1=1", "character 10, ') or (1=1': expected"),
        ('category = "chair', "character 12"),
        ("material = 3", "attributes.material"),
        ("price.low = 3", "no fields of its own"),
        ("attributes = 3", "attributes.NAME"),
        ("attributes.a.b.c.d.e.f.g.h = 3", "at most 7 names"),
        ("title = 'x'", "title takes contains and exists"),
        ("category < 'b'", "category takes = != in and exists"),
        ("category contains 'b'", "category takes = != in and exists"),
        ("title contains '!?'", "contains no word"),
        ("price = 'cheap'", "price is a number"),
        ("price < 1e999", "too large"),
        ("price < " + "9" * 400, "too large"),
        ("attributes.a in [1, -" + "9" * 1900 + "]", "too large"),
        (r"category = '\u0000'", "a NUL character"),
        (r"attributes.a in ['x', '\ud83e']", "half a character"),
        ("colour = 'mauve'", "black, white, grey"),
        ("attributes.a < true", "no order"),
        ("attributes.a 1..'b'", "two numbers or two texts"),
        ("CATEGORY = 1", "'CATEGORY' is no field"),
        ("price < 1 " * 300, "at most 2,000 characters"),
        (f"attributes.a in [{','.join('1' * 101)}]", "at most 100 values"),
        ("not " * 20 + "price < 1", "nested at most 16"),
        ("(" * 900 + "not " * 20 + "price < 1" + ")" * 900, "nested at most 16"),
        (" or ".join(["price < 1"] * 33), "at most 32 comparisons"),
    ],
)
def test_what_is_refused_and_what_is_said(text: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(text)
    assert said in refused.value.message
    assert refused.value.field == "filter"


def test_every_example_of_the_documentation_is_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()
    block = re.findall(r"```text\n(.*?)\n```", page, re.S)
    written = [*block, *re.findall(r"\| `([^`|]+)`(?:, `([^`|]+)`)? \| (?:one|there|it|the title)", page)]
    found = [each for pair in written for each in ([pair] if isinstance(pair, str) else pair) if each]
    assert len(found) >= 11
    for text in found:
        parse(text)


def test_filters_join() -> None:
    assert both(None, None) is None
    assert both(CHAIR, None) == both(None, CHAIR) == CHAIR
    assert both(CHAIR, CHEAP) == AllOf((CHAIR, CHEAP))


HOSTILE = '" or key != "" -- \'; drop \\ %_ \n\t 漢字 🪑'


def test_hostile_text_stays_inside_its_quotes() -> None:
    """B18: what is left of an expression without its quoted texts and its numbers has no foreign word."""
    path = ("attributes", HOSTILE)
    filters: list[Filter] = [
        category_is(HOSTILE),
        Is(("product_id",), (HOSTILE,)),
        Is(path, (HOSTILE,)),
        Compare(path, ">=", HOSTILE),
        Exists(path),
        Is(("tags",), (HOSTILE,)),
        HasWords((HOSTILE,)),
    ]
    known = {
        "category",
        "product_id",
        "price",
        "facts",
        "ordered",
        "in",
        "and",
        "or",
        "not",
        "array_contains",
    }
    known |= {"array_contains_any", "array_contains_all"}
    for filter_ in filters:
        written = to_expression(Not(AnyOf((filter_, filter_))), NEW_FIELDS)
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", written)
        assert set(re.findall(r"[^\W\d]\w*", bare)) <= known
        assert not re.search(r"[%;\\]", bare)


def test_expressions_of_milvus() -> None:
    key, kind = order_key(MATERIAL), token(MATERIAL, kind="text")
    assert to_expression(CHEAP, NEW_FIELDS) == "(price >= 0 and price < 100.0)"
    assert to_expression(Compare(MATERIAL, "<", "é"), NEW_FIELDS) == (
        f'(array_contains(facts, {kind}) and ordered["{key}"] < "é")'
    )


def test_a_collection_of_an_older_vitrine_says_what_brings_its_fields() -> None:
    old = ["key", "product_id", "category", "price", "embedding"]
    for known in (CHAIR, AllOf((CHAIR, Not(CHEAP))), Exists(PRICE)):
        assert to_expression(known, old) == to_expression(known, NEW_FIELDS)
    for unknown in (Exists(("tags",)), HasWords(("oak",)), AnyOf((CHAIR, Is(MATERIAL, ("oak",))))):
        with pytest.raises(Conflict, match="vitrine rebuild"):
            to_expression(unknown, old)
