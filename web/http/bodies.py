"""Reads what callers send, strictly: JSON without traps, forms without surprises, pictures once."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from flask import request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import BadRequest

from shared.contracts import Contract
from shared.contracts.storable import find_unstorable
from shared.database.idempotency import Idempotent
from shared.errors import BodyTooLarge, InvalidInput, UnsupportedFormat

MAX_JSON_BYTES = 1_000_000
MAX_JSON_DEPTH = 32
_MAX_DIGITS = 40
#: A string, whole or cut off by the end, or a bracket. A string is matched without backtracking and from one
#: place only: a pattern that fails at the end of an open string, and begins anew at each quote, is quadratic.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_KEY = re.compile(r"^[\x21-\x7e]{1,128}$")


def json_body() -> Any:
    """The request's JSON document.

    Raises:
        UnsupportedFormat: the content type is another.
        BodyTooLarge: over MAX_JSON_BYTES.
        BadRequest: not strict JSON (duplicate names, NaN, over-long numbers, too deep).
    """
    if request.mimetype != "application/json":
        raise UnsupportedFormat("Send this call as application/json.", "Content-Type")
    if (request.content_length or 0) > MAX_JSON_BYTES:
        raise BodyTooLarge(f"A JSON body may have {MAX_JSON_BYTES} bytes.")
    return strict_json(request.get_data())


def optional_json() -> Any:
    """The request's JSON document, an empty object where nothing was sent. Raises as ``json_body``."""
    return json_body() if request.content_length else {}


def strict_json(data: bytes | str) -> Any:
    """Parse JSON that means the same to everybody.

    Raises:
        BadRequest: anything else (400).
        InvalidInput: it holds text that no database keeps.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        if _depth(text) > MAX_JSON_DEPTH:
            raise BadRequest(f"The JSON is nested deeper than {MAX_JSON_DEPTH}.")
        found = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=lambda digits: int(_short(digits)),
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if (wrong := find_unstorable(found, MAX_JSON_DEPTH)) is not None:
        raise InvalidInput(wrong)
    return found


def _depth(text: str) -> int:
    """Return the deepest nesting; brackets inside strings do not count."""
    deepest = depth = 0
    for found in _JSON_TOKEN.finditer(text):
        bracket = found[0]
        if bracket[0] != '"':
            depth += 1 if bracket in "[{" else -1
            deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("A name occurs twice in one JSON object.")
    return found


def _no_constant(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not JSON.")


def _short(digits: str) -> str:
    if len(digits) > _MAX_DIGITS:
        raise BadRequest(f"A number has more than {_MAX_DIGITS} digits.")
    return digits


def _finite(digits: str) -> float:
    number = float(_short(digits))
    if not math.isfinite(number):
        raise BadRequest(f"{digits} is too large for a number: send it as text.")
    return number


def form_fields(lists: Iterable[str] = ()) -> dict[str, Any]:
    """The form's text fields: each once, empty ones left out, those in ``lists`` split at commas.

    Raises:
        InvalidInput: a field came twice, or holds what no database keeps.
    """
    found: dict[str, Any] = {}
    for name, values in request.form.lists():
        if len(values) > 1:
            raise InvalidInput(f"The field {name!r} was sent {len(values)} times.", name)
        if (wrong := find_unstorable([name, values[0]], 1)) is not None:
            raise InvalidInput(wrong, name)
        if values[0] != "":
            found[name] = values[0].strip("[]() ").split(",") if name in lists else values[0]
    return found


def query_fields(lists: Iterable[str] = ()) -> dict[str, Any]:
    """The address' parameters, each of which may come once, those in ``lists`` split at commas."""
    for name, values in request.args.lists():
        if len(values) > 1:
            raise InvalidInput(f"The parameter {name!r} came {len(values)} times.", name)
    return {name: text.split(",") if name in lists else text for name, text in request.args.items()}


def asked_number(name: str, least: int, most: int, otherwise: int) -> int:
    """A number that the address asks for; raises InvalidInput unless it lies between the two, included."""
    text = request.args.get(name, str(otherwise))
    if not (text.isdecimal() and len(text) <= _MAX_DIGITS and least <= int(text) <= most):
        raise InvalidInput(f"{name}: a number from {least} to {most}.", name)
    return int(text)


def only_file(name: str) -> bytes:
    """The bytes of the one file ``name``; raises as ``files_of``."""
    return files_of(name, 1)[0]


def files_of(name: str, most: int) -> list[bytes]:
    """The bytes of the files ``name``, in the order in which they were sent.

    Raises:
        InvalidInput: there is none, there are more than ``most``, or other files came along.
    """
    for other in request.files:
        if other != name:
            raise InvalidInput(f"There is no file field {other!r} here: send the picture as {name!r}.", other)
    files = request.files.getlist(name)
    if not 1 <= len(files) <= most:
        wanted = "one picture" if most == 1 else f"1 to {most} pictures"
        raise InvalidInput(f"Send {wanted} as the file field {name!r}; {len(files)} came.", name)
    return [read_file(file, name) for file in files]


def read_file(file: FileStorage, name: str) -> bytes:
    """The bytes of a file that was sent; raises InvalidInput when it is empty."""
    data: bytes = file.read()
    if not data:
        raise InvalidInput("The file is empty.", name)
    return data


def idempotency(*parts: Contract | str | None) -> Idempotent | None:
    """The request's ``Idempotency-Key`` with a digest of what it asks for, or None without the header."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _KEY.match(key):
        raise InvalidInput("An Idempotency-Key has 1 to 128 visible ASCII characters.", "Idempotency-Key")
    digest = hashlib.sha256()
    for part in parts:
        text = part.model_dump_json() if isinstance(part, Contract) else repr(part)
        digest.update(text.encode() + b"\0")
    return Idempotent(key, digest.hexdigest())
