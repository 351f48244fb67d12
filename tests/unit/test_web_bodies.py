"""Row B16: JSON that means different things to different readers is refused with 400."""

from __future__ import annotations

import pytest
from flask import Flask
from pydantic import ValidationError
from werkzeug.exceptions import BadRequest

from shared.contracts import SearchRequest
from shared.errors import InvalidInput
from web.http.bodies import MAX_JSON_DEPTH, MAX_JSON_TOKENS, parse_json, parse_model, read_form, read_query


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"x": NaN}',
        '{"x": -Infinity}',
        '{"x": ' + "9" * 5000 + "}",
        '{"x": 0.' + "1" * 5000 + "}",
        '{"x": 1, "x": 2}',
        '{"x": 1',
        "",
        "'x'",
        '["unclosed',
        b"\xff\xfe{}",
    ],
)
def test_treacherous_json_is_a_bad_request(text: str | bytes) -> None:
    with pytest.raises(BadRequest):
        parse_json(text)


def test_plain_json_is_read() -> None:
    assert parse_json('{"a": [1, 2.5, "]}[{", null], "b\\"[": {"c": true}}') == {
        "a": [1, 2.5, "]}[{", None],
        'b"[': {"c": True},
    }


def test_the_deepest_nesting_allowed_is_read() -> None:
    text = "[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH
    assert parse_json(text) is not None
    with pytest.raises(BadRequest):
        parse_json(f"[{text}]")


@pytest.mark.parametrize(
    "text",
    [
        "{" + ",".join(f'"a{n}":1' for n in range(MAX_JSON_TOKENS // 2)) + "}",
        '{"like": [' + "1," * MAX_JSON_TOKENS + "1]}",
        '{"boosts": [' + "{}," * (MAX_JSON_TOKENS // 3) + "{}]}",
        "[" + '""' * MAX_JSON_TOKENS + "]",
    ],
    ids=["names", "numbers", "objects", "texts"],
)
def test_json_of_many_parts_is_refused_before_it_is_validated(text: str) -> None:
    """Each wrong value makes an error of its own: 90,000 of them held the interpreter for a second."""
    with pytest.raises(BadRequest, match="more than 20,000"):
        parse_json(text)


def test_many_parts_inside_a_text_are_no_parts() -> None:
    assert parse_json('{"a": "' + "[,{" * MAX_JSON_TOKENS + '"}')


def test_a_list_of_a_form_or_an_address_makes_few_errors() -> None:
    commas = "," * 4000
    with Flask("t").test_request_context(f"/?like={commas}", method="POST", data={"like": commas}):
        for found in (read_form(lists=("like",)), read_query(lists=("like",))):
            with pytest.raises(ValidationError) as error:
                SearchRequest.model_validate(found)
            assert error.value.error_count() <= 101


def test_boosts_of_a_form_make_few_errors() -> None:
    with pytest.raises(InvalidInput, match="at most 32,000 characters"):
        parse_model(SearchRequest, {"boosts": "[" + "{}," * 80_000 + "{}]"})
