"""Forms with files: what browsers send is read as Werkzeug reads it, and what is broken is refused."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from web.http.bodies import StrictFormParser

#: Longer than what is read at once, with beginnings of the boundary in it.
LONG = b"\r\n--edge\r\n--edg" * 20_000
FORM = b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n--edge--\r\n'


def written(fields: dict[str, Any], files: list[tuple[str, Any]]) -> bytes:
    headers = {"Content-Type": "multipart/form-data; boundary=edge1"}
    return httpx.Request("POST", "http://shop", data=fields, files=files, headers=headers).read()


def read(reader: FormDataParser, body: bytes, boundary: str = "edge1") -> tuple[Any, Any]:
    options = {"boundary": boundary}
    _, texts, files = reader.parse(io.BytesIO(body), "multipart/form-data", len(body), options)
    found = []
    for name, file in files.items(multi=True):
        found.append((name, file.filename, file.content_type, file.read()))
        file.close()
    return list(texts.items(multi=True)), found


def forms() -> Iterator[tuple[str, dict[str, Any], list[tuple[str, Any]]]]:
    yield "texts", {"a": "one", "b": ["two", "three"], "empty": ""}, [("f", ("f.jpg", b"x"))]
    yield "any script", {"é": "שלום", "名": "写真"}, [("f", ("写真 'é' (1).jpg", b"x"))]
    yield "lines", {"a": "one\r\n--edge\r\ntwo"}, [("f", ("f.jpg", b"\r\n--edge--\r\n"))]
    yield "long", {"a": "x" * 100_000}, [("f", ("f.jpg", LONG)), ("g", ("g.png", LONG, "image/png"))]
    yield "an empty file", {}, [("f", ("f.jpg", b""))]


@pytest.mark.parametrize(("fields", "files"), [pytest.param(a, b, id=name) for name, a, b in forms()])
def test_a_form_is_read_as_werkzeug_reads_it(fields: dict[str, Any], files: list[tuple[str, Any]]) -> None:
    body = written(fields, files)
    ours = read(StrictFormParser(silent=False), body)
    assert ours == read(FormDataParser(silent=False), body)
    assert len(ours[1]) == len(files)


def test_a_file_field_that_was_left_empty_is_a_file_without_a_name() -> None:
    body = FORM.replace(b'name="a"', b'name="a"; filename=""').replace(b"one", b"")
    ours = read(StrictFormParser(), body, "edge")
    assert ours[1][0][:2] == ("a", "")
    assert ours == read(FormDataParser(), body, "edge")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        FORM[:-4],
        FORM[:30],
        FORM.replace(b"edge--", b"edgeX"),
    ],
)
def test_a_broken_form_is_a_bad_request(body: bytes) -> None:
    assert read(StrictFormParser(), FORM, "edge") == ([("a", "one")], [])
    with pytest.raises(BadRequest, match="cannot be read"):
        read(StrictFormParser(), body, "edge")


def test_a_form_without_a_boundary_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        read(StrictFormParser(), FORM, "")


@pytest.mark.parametrize(
    "limits", [{"max_form_parts": 2}, {"max_form_memory_size": 100_000}], ids=["parts", "length of a text"]
)
def test_what_is_over_a_limit_is_413(limits: dict[str, Any]) -> None:
    body = written({"a": "x" * 150_000, "b": "1", "c": "1"}, [("f", ("f.jpg", b"123456789"))])
    wide: dict[str, Any] = dict.fromkeys(limits, 200_000)
    assert len(read(StrictFormParser(**wide), body)[0]) == 3
    with pytest.raises(RequestEntityTooLarge):
        read(StrictFormParser(**limits), body)


def test_a_file_may_be_longer_than_a_text() -> None:
    body = written({}, [("f", ("f.jpg", b"x" * 300_000))])
    assert read(StrictFormParser(max_form_memory_size=100_000), body)[1][0][3] == b"x" * 300_000


def test_a_form_without_files() -> None:
    kind = "application/x-www-form-urlencoded"
    _, texts, files = StrictFormParser().parse(io.BytesIO(b"a=1&a=2"), kind, 7)
    assert texts.getlist("a") == ["1", "2"]
    assert not files
