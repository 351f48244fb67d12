"""Detect the format of a file from its first bytes.

The result selects the only parser that may read the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Common names of picture formats by Pillow's names.
PICTURES: Final = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "GIF": "GIF",
    "AVIF": "AVIF",
    "HEIF": "HEIC",
    "BMP": "BMP",
    "TIFF": "TIFF",
}

_PICTURE_STARTS: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_OTHER_STARTS: Final = (
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript (EPS) drawing"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript (EPS) drawing"),
    (b"PK\x03\x04", "a zip archive or an office document"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\x01\0", "an icon file"),
    (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL \r\n", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"SIMPLE  =", "a FITS file"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
)
_HEIF_BRANDS: Final = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_BMP_HEADER_BYTES: Final = frozenset((12, 40, 52, 56, 64, 108, 124))
_HEAD_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class FileKind:
    """The detected format of a file.

    Attributes:
        picture: Pillow's name of the format if it is one of ``PICTURES``, else None.
        name: name with article for messages; None if the format is unknown.
    """

    picture: str | None
    name: str | None


def recognise(data: bytes) -> FileKind:
    """Detect the format of ``data`` from at most its first kilobyte; never raises."""
    picture = _picture(data)
    if picture is not None:
        return FileKind(picture, f"{'an' if picture == 'AVIF' else 'a'} {PICTURES[picture]} picture")
    for start, name in _OTHER_STARTS:
        if data.startswith(start):
            return FileKind(None, name)
    if data[4:8] == b"ftyp":
        return FileKind(None, "a video")
    return FileKind(None, _written(data[:_HEAD_BYTES]))


def _picture(data: bytes) -> str | None:
    for start, picture in _PICTURE_STARTS:
        if data.startswith(start):
            return picture
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    # The two letters alone would match many texts.
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    if data[4:8] == b"ftyp":
        length = min(int.from_bytes(data[:4], "big"), _HEAD_BYTES)
        brands = {data[8:12]} | {data[at : at + 4] for at in range(16, length, 4)}
        # An AVIF also has the generic brand mif1, so its own brands are checked first.
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return None


def _written(head: bytes) -> str | None:
    """Detect markup and plain text."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"%pdf-" in text:
        return "a PDF document"
    if text.startswith(b"<"):
        if b"<svg" in text:
            return "an SVG drawing"
        if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
            return "a web page"
        return "an XML file"
    # A character may be truncated at the end of the head, so decoding errors are ignored.
    written = text.decode("utf-8", errors="ignore")
    if (
        len(text) > 1
        and len(written.encode()) >= len(text) - 3
        and all(c.isprintable() or c.isspace() for c in written)
    ):
        return "a text file"
    return None
