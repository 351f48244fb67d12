"""Check the structure of a file before a parser reads it.

Small files can keep a decoder busy for hours or make it allocate gigabytes: a JPEG with a hundred thousand
scans (75 bytes each), millions of empty segments or comments, a canvas of 16,383 by 16,383. Pillow limits
none of these, and accepts a PNG with wrong checksums.
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
#: Encoders write no fill bytes within a scan, except some hardware that pads with a few.
MAX_JPEG_FILL_RUN: Final = 64
MAX_PNG_CHUNKS: Final = 65_536
MAX_GIF_BLOCKS_BEFORE_PICTURE: Final = 5_000
MAX_GIF_BLOCKS: Final = 200_000

_JPEG_MARKER: Final = re.compile(rb"\xff([\x01-\xfe])")
#: Within a scan, FF 00 is an escaped byte of data, and FF D0 to FF D7 are restart markers.
_JPEG_SCAN_END: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_BARE: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_FILL: Final = b"\xff" * (MAX_JPEG_FILL_RUN + 1)
_SOS, _EOI = 0xDA, 0xD9
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = frozenset((0xC0, 0xC1))

CUT_OFF: Final = "The picture is truncated: send the whole file."
_DAMAGED: Final = "The picture is damaged: export or take it again."
_OVERLOADED: Final = "The picture has far more parts than cameras write: save it again as a plain JPEG."


@dataclass(frozen=True, slots=True)
class JpegLayout:
    """The layout of a JPEG.

    Attributes:
        scans: number of scans.
        is_streamed: whether a decoder needs only a few rows in memory and can decode at a fraction of the
            size; otherwise it needs the coefficients of the whole picture.
    """

    scans: int
    is_streamed: bool


def check(data: bytes, picture: str) -> JpegLayout | None:
    """Check the structure of a file whose format is ``picture`` (Pillow's name).

    Returns:
        The layout of a JPEG, None for other formats.

    Raises:
        UndecodableImage: it is truncated, damaged, or built to keep a decoder busy.
        UnsupportedFormat: an unsupported variant.
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
    """Return whether a BMP is run-length encoded, which Pillow decodes in a slow Python loop."""
    return int.from_bytes(data[14:18], "little") >= 40 and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0")


def _check_jpeg(data: bytes) -> JpegLayout:
    """Check all segments up to the end of the first picture."""
    at, segments, scans, fill_bytes, frame = 2, 0, 0, 0, 0
    while True:
        found = _JPEG_MARKER.search(data, at, at + MAX_JPEG_FILL_BYTES)
        if found is None:
            raise UndecodableImage(CUT_OFF if at + 2 >= len(data) else _DAMAGED)
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
                raise UndecodableImage(CUT_OFF)
            if data.find(_JPEG_FILL, at, end.start()) >= 0:
                raise UndecodableImage(_OVERLOADED)
            at = end.start()


def _check_png(data: bytes) -> None:
    """Check the checksum of every chunk up to the end chunk."""
    at, view = 8, memoryview(data)
    for _ in range(MAX_PNG_CHUNKS):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise UndecodableImage(CUT_OFF)
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise UndecodableImage(_DAMAGED)
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = end
    raise UndecodableImage(_OVERLOADED)


def count_gif_frames(data: bytes, at_most: int) -> int:
    """Count the frames of a GIF, up to ``at_most``.

    Raises:
        UndecodableImage: it is truncated before the last of them, or has too many blocks.
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
            raise UndecodableImage(_DAMAGED if block else CUT_OFF)


def _gif_table_bytes(data: bytes, at: int) -> int:
    """Return the length of the colour table given by the flags at ``at``."""
    flags = data[at] if at < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_gif_blocks(data: bytes, at: int, blocks_left: int) -> tuple[int, int]:
    """Return the end of a chain of sub-blocks, and how many more are allowed."""
    while at < len(data):
        if blocks_left == 0:
            raise UndecodableImage(_OVERLOADED)
        blocks_left -= 1
        if data[at] == 0:
            return at + 1, blocks_left
        at += data[at] + 1
    raise UndecodableImage(CUT_OFF)


def webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Return width and height in the header of a WebP, or None without a valid header.

    Read in advance, because libwebp allocates eight bytes per pixel when its decoder is created.
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
