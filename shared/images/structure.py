"""Checks of a file's skeleton before a parser sees it: cheap to make, and costly to leave out.

Small files can keep a decoder busy for hours or make it reserve gigabytes: a JPEG with a
hundred thousand passes over the picture (75 bytes each), millions of empty segments or comments,
a canvas of 16,383 by 16,383. Pillow limits none of these, and takes a PNG with wrong checksums.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final

from shared.errors import UndecodableImage, UnsupportedFormat

MAX_JPEG_SCANS: Final = 50
MAX_JPEG_SEGMENTS: Final = 5_000
MAX_JPEG_FILL_BYTES: Final = 65_536
#: Encoders write no fill bytes within a scan; hardware that pads writes a few.
MAX_JPEG_FILL_RUN: Final = 64
MAX_PNG_CHUNKS: Final = 65_536
MAX_GIF_BLOCKS_BEFORE_PICTURE: Final = 5_000
MAX_GIF_BLOCKS: Final = 200_000

_JPEG_MARKER: Final = re.compile(rb"\xff([\x01-\xfe])")
#: Within a scan, FF 00 is a byte of the picture and FF D0 to FF D7 restart the coder.
_JPEG_SCAN_END: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_BARE: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_FILL: Final = b"\xff" * (MAX_JPEG_FILL_RUN + 1)
_SOS, _EOI = 0xDA, 0xD9
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = frozenset((0xC0, 0xC1))

_CUT_OFF: Final = "The picture is cut off: send the whole file."
_DAMAGED: Final = "The picture is damaged: export or take it again."
_OVERLOADED: Final = (
    "The picture is built in far more parts than any camera makes: save it again as a plain JPEG."
)


@dataclass(frozen=True, slots=True)
class JpegLayout:
    """How a JPEG's picture is stored.

    Attributes:
        scans: passes over the picture.
        is_streamed: whether a decoder needs to hold a few rows only, and can decode at a fraction of the
            size; otherwise it holds the coefficients of the whole picture.
    """

    scans: int
    is_streamed: bool


def check(data: bytes, picture: str) -> JpegLayout | None:
    """Check the skeleton of a file whose format is ``picture`` (Pillow's name).

    Returns:
        What a JPEG's skeleton is, None for other formats.

    Raises:
        UndecodableImage: it is cut off, damaged, or built to keep a decoder busy.
        UnsupportedFormat: a variant that is not taken.
    """
    if picture == "JPEG":
        return _check_jpeg(data)
    if picture == "PNG":
        _check_png(data)
    elif picture == "GIF":
        count_gif_frames(data, at_most=1)
    elif picture == "BMP" and _is_compressed_bmp(data):
        raise UnsupportedFormat("This is a compressed BMP picture: save it as PNG and send that.")
    return None


def _is_compressed_bmp(data: bytes) -> bool:
    """Tell the run-length kinds, which Pillow reads in a slow loop in Python."""
    return int.from_bytes(data[14:18], "little") >= 40 and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0")


def _check_jpeg(data: bytes) -> JpegLayout:
    """Walk from segment to segment to the end of the first picture."""
    at, segments, scans, fill_bytes, frame = 2, 0, 0, 0, 0
    while True:
        found = _JPEG_MARKER.search(data, at, at + MAX_JPEG_FILL_BYTES)
        if found is None:
            raise UndecodableImage(_CUT_OFF if at + 2 >= len(data) else _DAMAGED)
        fill_bytes += found.start() - at
        marker, at = data[found.end() - 1], found.end()
        segments += 1
        if segments > MAX_JPEG_SEGMENTS or fill_bytes > MAX_JPEG_FILL_BYTES:
            raise UndecodableImage(_OVERLOADED)
        if marker == _EOI:
            return JpegLayout(scans, frame in _SEQUENTIAL and scans == 1)
        if marker in _JPEG_BARE:
            continue
        if marker in _JPEG_FRAMES and not frame:
            frame = marker
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker == _SOS:
            scans += 1
            if scans > MAX_JPEG_SCANS:
                raise UndecodableImage(_OVERLOADED)
            end = _JPEG_SCAN_END.search(data, at)
            if end is None:
                raise UndecodableImage(_CUT_OFF)
            if data.find(_JPEG_FILL, at, end.start()) >= 0:
                raise UndecodableImage(_OVERLOADED)
            at = end.start()


def _check_png(data: bytes) -> None:
    """Check every chunk's checksum, to the end mark."""
    at, view = 8, memoryview(data)
    for _ in range(MAX_PNG_CHUNKS):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise UndecodableImage(_CUT_OFF)
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise UndecodableImage(_DAMAGED)
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = end
    raise UndecodableImage(_OVERLOADED)


def count_gif_frames(data: bytes, at_most: int) -> int:
    """Count the frames of a GIF, and stop at ``at_most``.

    Raises:
        UndecodableImage: it is cut off before the last of them, or has too many blocks.
    """
    at, frames, blocks_left = 13 + _gif_table_bytes(data, 10), 0, MAX_GIF_BLOCKS_BEFORE_PICTURE
    while True:
        block = data[at : at + 1]
        if block == b",":
            frames += 1
            if frames == at_most:
                return frames
            at, blocks_left = _skip_gif_blocks(data, at + 11 + _gif_table_bytes(data, at + 9), MAX_GIF_BLOCKS)
        elif block == b"!":
            at, blocks_left = _skip_gif_blocks(data, at + 2, blocks_left)
        elif frames:
            return frames
        else:
            raise UndecodableImage(_DAMAGED if block else _CUT_OFF)


def _gif_table_bytes(data: bytes, at: int) -> int:
    """Return the length of the colour table that the flags at ``at`` announce."""
    flags = data[at] if at < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_gif_blocks(data: bytes, at: int, blocks_left: int) -> tuple[int, int]:
    """Return where a chain of sub-blocks ends, and how many more may follow."""
    while at < len(data):
        if blocks_left == 0:
            raise UndecodableImage(_OVERLOADED)
        blocks_left -= 1
        if data[at] == 0:
            return at + 1, blocks_left
        at += data[at] + 1
    raise UndecodableImage(_CUT_OFF)


def webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Return the width and height that a WebP's header states, or None if it has no sound header.

    libwebp reserves eight bytes a pixel as soon as its decoder is made, so they are read before.
    """
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 30:
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None
