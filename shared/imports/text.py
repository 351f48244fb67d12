"""Decodes text manifests: finds the encoding of a file by its content, and reads it line by line."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable
from typing import BinaryIO, Final, Literal

Opener = Callable[[], BinaryIO]
#: Python's name of an encoding that manifests are read in.
Encoding = Literal["utf-8", "utf-16-le", "utf-16-be", "cp1252"]

#: Longest line, and longest element of a JSON array or feed, in characters.
MAX_LINE: Final = 1_000_000
_PIECE_BYTES: Final = 1 << 20
_MULTIBYTE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH: Final = re.compile(rb"[\x80-\xff]")
#: What people call the encodings.
ENCODING_NAMES: Final[dict[Encoding, str]] = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "cp1252": "Windows-1252",
}


class BadLine(ValueError):
    """A line that cannot be read."""


class UndecodableLine(BadLine):
    """Its bytes are no text in the encoding of the file."""


def detect_encoding(opener: Opener) -> Encoding:
    """Return the encoding of a text file, decided by all of its bytes.

    A byte order mark decides at once. A file without one is UTF-8 if most of its characters outside ASCII
    are well-formed UTF-8, so that one bad line stays one bad line; else it is Windows-1252, which Excel
    writes in western Europe.
    """
    with opener() as file:
        head = file.read(_PIECE_BYTES)
        if head.startswith(codecs.BOM_UTF8):
            return "utf-8"
        if (wide := _utf_16(head)) is not None:
            return wide
        well_formed = stray = 0
        rest = b""
        while head:
            piece = rest + head
            # A character may be cut at the end of a piece.
            cut = len(piece) - _cut_bytes(piece)
            piece, rest = piece[:cut], piece[cut:]
            if not piece.isascii():
                left, count = _MULTIBYTE.subn(b"", piece)
                well_formed += count
                stray += len(_HIGH.findall(left))
            head = file.read(_PIECE_BYTES)
    stray += len(rest)
    return "utf-8" if well_formed >= stray else "cp1252"


def _utf_16(head: bytes) -> Encoding | None:
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    # Without a mark: every second byte of ASCII text is zero, here of the first characters.
    start = head[:8]
    if len(start) == 8 and start[0::2].count(0) == 0 and start[1::2].count(0) == 4:
        return "utf-16-le"
    if len(start) == 8 and start[1::2].count(0) == 0 and start[0::2].count(0) == 4:
        return "utf-16-be"
    return None


def _cut_bytes(piece: bytes) -> int:
    """Return how many bytes at the end begin a character that goes on in the next piece."""
    for count in (1, 2, 3):
        byte = piece[-count] if len(piece) >= count else 0
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return count if count < length else 0
        if byte < 0x80:
            return 0
    return 0


def open_text(file: BinaryIO, encoding: Encoding) -> io.TextIOWrapper:
    """Wrap a file as text without its byte order mark, line endings as they are."""
    # Bytes that are no text become surrogates (UTF-16 has none of its own to spare), for each line to tell.
    errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
    return io.TextIOWrapper(
        file, encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors=errors, newline=""
    )


class Lines:
    """The lines of a text file, whichever of the three line endings each has, in constant memory.

    Attributes:
        number: of the line that was read last, from 1.
    """

    def __init__(self, file: BinaryIO, encoding: Encoding = "utf-8") -> None:
        self._text = open_text(file, encoding)
        self._encoding = encoding
        self.number = 0

    def __iter__(self) -> Lines:
        return self

    def close(self) -> None:
        """Close the file, too."""
        self._text.close()

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if self.number == 1:
            line = line.removeprefix("\ufeff")
        if len(line) > MAX_LINE:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(MAX_LINE)
            raise BadLine(f"it is longer than {MAX_LINE:,} characters")
        check_text(line, self._encoding)
        return line


def check_text(text: str, encoding: Encoding) -> None:
    """Raise UndecodableLine where ``open_text`` met bytes that are no text."""
    if text.isascii():
        return
    at = text.find("\ufffd") if encoding.startswith("utf-16") else -1
    try:
        text.encode()
    except UnicodeEncodeError as error:
        at = error.start
    if at >= 0:
        raise UndecodableLine(f"it is not {ENCODING_NAMES[encoding]} text (character {at + 1})")
