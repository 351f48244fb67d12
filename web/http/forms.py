"""Parse forms with Werkzeug, but refuse malformed forms instead of treating them as empty."""

from __future__ import annotations

from typing import IO

from flask import Request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import BadRequest
from werkzeug.formparser import FormDataParser


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
        try:
            return super().parse(stream, mimetype, content_length, options)
        except ValueError as error:
            raise BadRequest(f"The form cannot be read: {error}. Send it again.") from error


class VitrineRequest(Request):
    """Flask's request with forms parsed by ``StrictFormParser``."""

    form_data_parser_class = StrictFormParser
