"""Forms, read by Werkzeug, with one difference: a malformed form is an error, not an empty form."""

from __future__ import annotations

from typing import IO

from flask import Request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import BadRequest
from werkzeug.formparser import FormDataParser


class StrictFormParser(FormDataParser):
    """Refuses forms that are cut off or malformed."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """Return the stream, the texts and the files.

        Raises:
            BadRequest: the form is cut off or malformed.
            RequestEntityTooLarge: it has too many parts, or too long a text.
        """
        self.silent = False
        try:
            return super().parse(stream, mimetype, content_length, options)
        except ValueError as error:
            raise BadRequest(f"The form cannot be read: {error}. Send it again.") from error


class VitrineRequest(Request):
    """Flask's request with forms read by ``StrictFormParser``."""

    form_data_parser_class = StrictFormParser
