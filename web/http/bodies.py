"""Read request bodies strictly: JSON, forms, query parameters and files."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from contextlib import ExitStack
from typing import IO, Any, NoReturn, TypeVar

from flask import Request, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import BadRequest
from werkzeug.formparser import FormDataParser

from shared.contracts import Contract
from shared.contracts.stored import find_unstorable
from shared.database.idempotency import Idempotent
from shared.errors import BodyTooLarge, InvalidInput, UnsupportedFormat
from web.http.principals import current_principal

Model = TypeVar("Model", bound=BaseModel)

MAX_JSON_BYTES = 1_000_000
MAX_JSON_DEPTH = 32
#: Maximum number of texts, commas and brackets of a JSON body. Validation makes an error of each wrong value
#: and holds the interpreter for it: sixteen bodies of 90,000 wrong names delayed `/healthz` by 3.5 s.
MAX_JSON_TOKENS = 20_000
#: Maximum number of commas at which a list of a form is split; the rest stays one item, which is refused.
_MAX_LIST_ITEMS = 100
_MAX_DIGITS = 40
#: A string, a bracket or a comma; the end of the text also ends a string. Possessive quantifiers keep it
#: linear: a pattern that fails at the end of an open string and restarts at each quote is quadratic.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_KEY = re.compile(r"^[\x21-\x7e]{1,128}$")


def read_json() -> Any:
    """Parse the request body as strict JSON.

    Raises:
        UnsupportedFormat: the content type is not application/json.
        BodyTooLarge: over MAX_JSON_BYTES.
        BadRequest: not strict JSON (duplicate names, NaN, over-long numbers, too deep).
    """
    if request.mimetype != "application/json":
        raise UnsupportedFormat("Send the body as application/json.", "Content-Type")
    if (request.content_length or 0) > MAX_JSON_BYTES:
        raise BodyTooLarge(f"A JSON body may have at most {MAX_JSON_BYTES} bytes.")
    return parse_json(request.get_data())


def read_optional_json() -> Any:
    """Parse the request body as JSON; return an empty object for an empty body. Raises as ``read_json``."""
    return read_json() if request.content_length else {}


def parse_json(data: bytes | str) -> Any:
    """Parse JSON that every parser reads in the same way.

    Raises:
        BadRequest: not strict JSON (duplicate names, NaN, over-long numbers, too deep).
        InvalidInput: it contains text that databases cannot store.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        _check_tokens(text)
        document = json.loads(
            text,
            object_pairs_hook=_to_dict,
            parse_constant=_refuse_constant,
            parse_int=lambda digits: int(_check_digits(digits)),
            parse_float=_to_float,
        )
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON.") from error
    if (problem := find_unstorable(document, MAX_JSON_DEPTH)) is not None:
        raise InvalidInput(problem)
    return document


def _check_tokens(text: str) -> None:
    """Raise BadRequest for JSON that is nested too deep or has too many tokens; stop at the first excess."""
    depth = 0
    for count, found in enumerate(_JSON_TOKEN.finditer(text), start=1):
        match found[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
        if depth > MAX_JSON_DEPTH:
            raise BadRequest(f"The JSON is nested deeper than {MAX_JSON_DEPTH}.")
        if count > MAX_JSON_TOKENS:
            raise BadRequest(f"The JSON has more than {MAX_JSON_TOKENS:,} texts, commas and brackets.")


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadRequest("A name occurs twice in one JSON object.")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not JSON.")


def _check_digits(digits: str) -> str:
    if len(digits) > _MAX_DIGITS:
        raise BadRequest(f"A number has more than {_MAX_DIGITS} digits.")
    return digits


def _to_float(digits: str) -> float:
    number = float(_check_digits(digits))
    if not math.isfinite(number):
        raise BadRequest(f"{digits} is too large for a JSON number. Send it as text.")
    return number


def read_form(lists: Iterable[str] = ()) -> dict[str, Any]:
    """Read the text fields of the form; skip empty ones and split those in ``lists`` at commas.

    Raises:
        InvalidInput: a field was sent twice, or contains text that databases cannot store.
    """
    fields: dict[str, Any] = {}
    for name, values in request.form.lists():
        if len(values) > 1:
            raise InvalidInput(f"The field {name!r} was sent {len(values)} times.", name)
        if (problem := find_unstorable([name, values[0]], 1)) is not None:
            raise InvalidInput(problem, name)
        if values[0] != "":
            is_list = name in lists
            fields[name] = values[0].strip("[]() ").split(",", _MAX_LIST_ITEMS) if is_list else values[0]
    return fields


def read_query(lists: Iterable[str] = ()) -> dict[str, Any]:
    """Read the query parameters, splitting those in ``lists`` at commas.

    Raises:
        InvalidInput: a parameter was sent twice.
    """
    for name, values in request.args.lists():
        if len(values) > 1:
            raise InvalidInput(f"The parameter {name!r} was sent {len(values)} times.", name)
    return {
        name: text.split(",", _MAX_LIST_ITEMS) if name in lists else text
        for name, text in request.args.items()
    }


def read_number(name: str, minimum: int, maximum: int, default: int) -> int:
    """Read an integer query parameter; raise InvalidInput unless it is from ``minimum`` to ``maximum``."""
    text = request.args.get(name, str(default))
    if not (text.isdecimal() and len(text) <= _MAX_DIGITS and minimum <= int(text) <= maximum):
        raise InvalidInput(f"{name}: a number from {minimum} to {maximum}.", name)
    return int(text)


def parse_model(model: type[Model], data: object) -> Model:
    """Validate a caller's data as ``model``.

    Raises:
        InvalidInput: names the first invalid field.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise to_invalid_input(error) from error


def to_invalid_input(error: ValidationError) -> InvalidInput:
    """Convert pydantic's first error into one sentence and a field name."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    if first["type"] == "extra_forbidden":
        return InvalidInput(f"Unknown field {field!r}. /docs lists the fields.", field)
    reason = first["msg"].removeprefix("Value error, ")
    return InvalidInput(f"{field}: {reason}." if field else f"{reason}.", field)


def read_single_file(name: str) -> bytes:
    """Read the one file field ``name``. Raises as ``read_files``."""
    return read_files(name, 1)[0]


def read_files(name: str, max_files: int) -> list[bytes]:
    """Read the file fields ``name`` in the order in which they were sent.

    Raises:
        InvalidInput: no file, more than ``max_files``, an empty one, or another file field.
    """
    for other in request.files:
        if other != name:
            raise InvalidInput(f"Unknown file field {other!r}: send the picture as {name!r}.", other)
    files = request.files.getlist(name)
    if not 1 <= len(files) <= max_files:
        expected = "one picture" if max_files == 1 else f"1 to {max_files} pictures"
        raise InvalidInput(f"Send {expected} as the file field {name!r}, not {len(files)}.", name)
    return [read_file(file, name) for file in files]


def read_file(file: FileStorage, name: str) -> bytes:
    """Read an uploaded file; raise InvalidInput if it is empty."""
    data: bytes = file.read()
    if not data:
        raise InvalidInput("The file is empty.", name)
    return data


def read_idempotency(*parts: Contract | str | None) -> Idempotent | None:
    """Return the ``Idempotency-Key`` with a digest of the request's ``parts``, or None without the header."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _KEY.match(key):
        raise InvalidInput("An Idempotency-Key has 1 to 128 visible ASCII characters.", "Idempotency-Key")
    digest = hashlib.sha256()
    for part in parts:
        text = part.model_dump_json() if isinstance(part, Contract) else repr(part)
        digest.update(text.encode() + b"\0")
    owner = current_principal().owner
    if owner is not None:
        # Keys of different callers are independent, though they may be equal.
        key = hashlib.sha256(f"{owner}:{key}".encode()).hexdigest()
    return Idempotent(key, digest.hexdigest())


class StrictFormParser(FormDataParser):
    """Werkzeug's form parser, which refuses truncated or malformed forms."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """Parse the form into the stream, the text fields and the files.

        Raises:
            BadRequest: the form is truncated or malformed.
            RequestEntityTooLarge: too many parts, or a text field is too long.
        """
        self.silent = False
        with ExitStack() as files:
            open_file = self.stream_factory
            self.stream_factory = lambda *args, **kwargs: files.enter_context(open_file(*args, **kwargs))
            try:
                found = super().parse(stream, mimetype, content_length, options)
            except ValueError as error:
                raise BadRequest(f"The form cannot be read: {error}. Send it again.") from error
            finally:
                self.stream_factory = open_file
            # The request closes them; those of a refused form have no request.
            files.pop_all()
            return found


class VitrineRequest(Request):
    """Flask's request with forms parsed by ``StrictFormParser``."""

    form_data_parser_class = StrictFormParser
