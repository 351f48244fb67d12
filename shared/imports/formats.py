"""Tells the format of a manifest by its content; its name decides nothing."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import BinaryIO, Final

from shared.errors import InvalidManifest
from shared.imports.json_arrays import find_array, is_spread_object
from shared.imports.text import Encoding, Opener, detect_encoding

#: Read to tell a format.
_HEAD_BYTES: Final = 64 * 1024


class Format(StrEnum):
    """A format of manifests, by the name that people know it by."""

    CSV = "CSV"
    JSON_LINES = "JSON Lines"
    JSON_ARRAY = "JSON"
    XML = "XML"
    XLSX = "Excel"
    PARQUET = "Parquet"


#: Formats of text, whose encoding has to be detected; XML states its own.
TEXTS: Final = frozenset((Format.CSV, Format.JSON_LINES, Format.JSON_ARRAY))

_REFUSED: Final = (
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls): save it as .xlsx or CSV"),
    (b"%PDF-", "a PDF document: export the products as CSV or .xlsx"),
    (b"\x1f\x8b", "a gzip file within a gzip file: unpack it once"),
    (b"\xff\xfe\0\0", "UTF-32 text: save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32 text: save it as UTF-8"),
    (b"Rar!", "a RAR archive: pack it as .zip"),
    (b"7z\xbc\xaf", "a 7z archive: pack it as .zip"),
    (b"\xff\xd8\xff", "a JPEG picture: send a manifest, or a folder or archive of pictures"),
    (b"\x89PNG", "a PNG picture: send a manifest, or a folder or archive of pictures"),
)
_WEB_PAGE: Final = re.compile(r"<!doctype\s+html|<html\b", re.I)


def detect_format(opener: Opener, name: str) -> tuple[Format, Encoding]:
    """Return the format of a manifest, and its encoding if it is a text.

    Args:
        name: of the file, for errors.

    Raises:
        InvalidManifest: it is of another kind; the sentence names the kind and what to send.
    """
    with opener() as file:
        head = _read_head(file)
    for start, sentence in _REFUSED:
        if head.startswith(start):
            raise InvalidManifest(f"{name} is {sentence}.")
    if head.startswith(b"PAR1"):
        return Format.PARQUET, "utf-8"
    if head.startswith(b"PK\x03\x04"):
        return Format.XLSX, "utf-8"
    encoding = detect_encoding(opener)
    text = head.decode(encoding, errors="replace").lstrip("\ufeff").lstrip()
    if text.startswith("<"):
        if _WEB_PAGE.search(text[:1000]):
            raise InvalidManifest(
                f"{name} is a web page, not a list of products: download the feed itself, and check "
                "whether its address needs a login."
            )
        return Format.XML, encoding
    if text.startswith("["):
        return Format.JSON_ARRAY, encoding
    if text.startswith("{"):
        is_document = find_array(text) is not None or is_spread_object(text)
        return Format.JSON_ARRAY if is_document else Format.JSON_LINES, encoding
    return Format.CSV, encoding


def _read_head(file: BinaryIO) -> bytes:
    head = b""
    while len(head) < _HEAD_BYTES and (piece := file.read(_HEAD_BYTES - len(head))):
        head += piece
    return head
