"""Forms of the kind that carries files, read by the `multipart` library, with Werkzeug's limits.

Werkzeug's own reader compiles two regular expressions for each form, since every browser makes up another
boundary: a millisecond of each search.
"""

from __future__ import annotations

from typing import IO, Any

from flask import Request
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

_PIECE_BYTES = 65_536


class FormReader(FormDataParser):
    """Reads forms with files; others as Werkzeug does."""

    def parse(
        self,
        stream: IO[bytes],
        mimetype: str,
        content_length: int | None,
        options: dict[str, str] | None = None,
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        """Return the stream, the texts and the files.

        Raises:
            BadRequest: the form is cut off or broken.
            RequestEntityTooLarge: it has too many parts, or too long a text.
        """
        if mimetype != "multipart/form-data":
            return super().parse(stream, mimetype, content_length, options)
        try:
            form = _Form(self)
            form.read(stream, (options or {}).get("boundary", ""))
        except ParserLimitReached as error:
            raise RequestEntityTooLarge(f"The form cannot be read: {error}.") from error
        except MultipartError as error:
            raise BadRequest(f"The form cannot be read: {error}.") from error
        return stream, self.cls(form.texts), self.cls(form.files)


class VitrineRequest(Request):
    """Flask's request with forms read by ``FormReader``."""

    form_data_parser_class = FormReader


class _Form:
    """A form while it is read."""

    def __init__(self, limits: FormDataParser) -> None:
        self.texts: list[tuple[str, str]] = []
        self.files: list[tuple[str, FileStorage]] = []
        self._limits = limits

    def read(self, stream: IO[bytes], boundary: str) -> None:
        most = self._limits.max_form_parts
        with PushMultipartParser(boundary, **({} if most is None else {"max_segment_count": most})) as parser:
            part: _Part | None = None
            while not parser.closed and (piece := stream.read(_PIECE_BYTES)):
                for event in parser.parse(piece):
                    if isinstance(event, MultipartSegment):
                        part = _Part(event, self._limits)
                    elif part is not None and event is not None:
                        part.add(event)
                    elif part is not None:
                        self._keep(part)

    def _keep(self, part: _Part) -> None:
        if part.file is None:
            self.texts.append((part.name, part.text.decode("utf-8", "replace")))
        else:
            part.file.seek(0)
            headers = Headers(part.segment.headerlist)
            file = FileStorage(part.file, part.segment.filename, part.name, headers=headers)
            self.files.append((part.name, file))


class _Part:
    """A text, or a file, which goes to disk when it is large."""

    def __init__(self, segment: MultipartSegment, limits: FormDataParser) -> None:
        self.segment = segment
        self.name = segment.name or ""
        self.text = b""
        self.file: IO[Any] | None = None
        self._most = limits.max_form_memory_size
        if segment.filename is not None:
            self.file = limits.stream_factory(
                total_content_length=None,
                filename=segment.filename,
                content_type=segment.content_type,
                content_length=None,
            )

    def add(self, piece: bytes) -> None:
        if self.file is not None:
            self.file.write(piece)
            return
        self.text += piece
        if self._most is not None and len(self.text) > self._most:
            raise RequestEntityTooLarge(f"A text of the form has more than {self._most:,} bytes.")
