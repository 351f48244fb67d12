"""Row B16: JSON that means different things to different readers is refused with 400."""

from __future__ import annotations

import pytest
from werkzeug.exceptions import BadRequest

from web.http.bodies import MAX_JSON_DEPTH, parse_json


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
