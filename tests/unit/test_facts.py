"""What filters know of a product."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from shared.contracts import ProductIn
from shared.filters import FilterFields, filter_fields
from shared.filters.facts import MAX_TOKENS, order_key, plain, token, written
from shared.filters.words import split_query, split_title


def facts(**changes: Any) -> FilterFields:
    return filter_fields(ProductIn(**changes))


def test_a_text_that_is_written_like_a_number_is_that_number() -> None:
    same = [120, 120.0, "120", "120.0"]
    assert {written(v) for each in same if (v := plain(each)) is not None} == {"120.0"}
    assert [plain(text) for text in ("007", "1e5", "+5", " 5", "5.", "", "1234567890123456")] == [
        "007",
        "1e5",
        "+5",
        " 5",
        "5.",
        "",
        "1234567890123456",
    ]
    assert str(plain("-0")) == "0.0"
    assert plain(10**15) == "1000000000000000"
    assert plain(float("inf")) == "inf"
    nothing: list[Any] = [None, [], {}, [1]]
    assert [plain(each) for each in nothing] == [None] * 4


def test_an_attribute_leaves_its_presence_its_value_and_its_order() -> None:
    path = ("attributes", "size", "width")
    found = facts(attributes={"size": {"width": "12.50"}})
    assert {token(path), token(path, 12.5), token(path, kind="number"), token(path[:2])} < set(found.tokens)
    assert found.order == {order_key(path): 12.5}
    assert token(path, kind="text") not in found.tokens


def test_a_list_has_each_of_its_values_and_no_order() -> None:
    path = ("attributes", "materials")
    found = facts(attributes={"materials": ["oak", 3, None, {"no": 1}, ["nor this"]]})
    assert {token(path), token(path, "oak"), token(path, 3.0)} < set(found.tokens)
    assert found.order == {}


def test_nothing_is_not_there() -> None:
    assert facts(attributes={"a": None, "b": [], "c": {}, "d": {"e": [None]}}) == FilterFields()


def test_names_with_dots_and_nested_names_differ() -> None:
    assert token(("attributes", "a.b"), 1.0) != token(("attributes", "a", "b"), 1.0)
    assert token(("attributes", "a"), "number") != token(("attributes", "a"), kind="number")


def test_colours_are_of_a_picture() -> None:
    product = facts(tags=["sale"])
    assert product.with_colours([]) == product
    red = product.with_colours(["red", "black"])
    assert set(red.tokens) - set(product.tokens) == {
        token(("colour",)),
        token(("colour",), "red"),
        token(("colour",), "black"),
    }


def test_facts_are_bounded_and_keep_what_comes_first() -> None:
    found = facts(
        tags=[f"tag {n}" for n in range(100)],
        attributes={f"name {n}": n for n in range(5000)},
        titles={f"a{chr(97 + n)}": " ".join(f"w{n}x{i}" for i in range(60)) for n in range(20)},
    ).with_colours([f"colour {n}" for n in range(11)])
    assert len(found.tokens) <= MAX_TOKENS
    assert token(("attributes", "name 0"), 0.0) in found.tokens
    assert token(("attributes", "name 4999"), 4999.0) not in found.tokens
    assert len(found.order) < 200
    assert {order_key(("attributes", f"name {n}")) for n in range(100)} < set(found.order)
    assert token(("tags",), "tag 99") in found.tokens
    assert token(("title",), "w0x0") in found.tokens


def test_a_long_text_can_be_equal_but_has_no_order() -> None:
    for long in ("é" * 76, "two\nlines"):
        found = facts(attributes={"note": long})
        assert token(("attributes", "note"), long) in found.tokens
        assert found.order == {}


def test_hostile_attributes_are_only_hashed() -> None:
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(2000):
        inner["a"] = {}
        inner = inner["a"]
    inner["a"] = 1
    hostile = {"half \ud83e": "\ud83e", "zero": "\x00", "deep": deep}
    found = filter_fields(SimpleNamespace(titles={}, currency=None, tags=[], attributes=hostile))
    assert len(found.tokens) == 5
    assert found.order == {}


def test_words_in_any_language() -> None:
    assert split_title("Café-STÜHLE, 2er Set") == ["cafe", "stuhle", "2er", "set"]
    assert split_title("कुर्सी लकड़ी") == ["कुर्सी", "लकड़ी"]
    assert split_title("ＷＩＤＥ ﬁne ΣΊΣΥΦΟΣ straße") == ["wide", "fine", "σισυφοσ", "strasse"]
    assert split_title("木製の椅子A") == ["木", "製", "の", "椅", "子", "木製", "製の", "の椅", "椅子", "a"]
    assert split_query("椅子") == ["椅子"]
    assert split_query("椅") == ["椅"]
    assert set(split_query("木製の")) < set(split_title("木製の椅子"))
    assert split_title(" -- !? ") == []
