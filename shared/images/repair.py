"""Repair files that every browser shows: JPEGs without an end mark, PNGs with faults outside the pixels."""

from __future__ import annotations

import io
import zlib
from typing import Final

from PIL import Image, ImageChops

from shared.images.structure import MAX_PNG_CHUNKS

#: Chunks besides the critical ones that change what is shown: transparency, colours, rotation, animation.
_SHOWN_CHUNKS: Final = frozenset(
    (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"sBIT", b"bKGD")
)
_PNG_HEAD_BYTES: Final = 8
_END_MARK: Final = b"\xff\xd9"
#: Bytes that would be read as more pixels by a decoder that has not all of them.
_MORE_PIXELS: Final = bytes(1 + (73 * n) % 253 for n in range(400))
_IEND: Final = b"\0\0\0\0IEND\xaeB`\x82"


def clean_png(data: bytes) -> bytes:
    """Return a PNG without texts and without ancillary chunks whose checksum is wrong.

    Texts are no pixels, and Pillow refuses the whole file for one that unpacks to over a megabyte. A
    missing end chunk is added where the last chunk is whole.
    """
    parts: list[memoryview | bytes] = [data[:_PNG_HEAD_BYTES]]
    at, view, is_whole = _PNG_HEAD_BYTES, memoryview(data), True
    has_pixels = False
    for _ in range(MAX_PNG_CHUNKS):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        is_critical = kind[:1].isupper()
        if end > len(data):
            # What is cut off matters only if it holds pixels.
            if has_pixels and (len(data) - at < 8 or not is_critical or kind == b"IEND"):
                parts.append(_IEND)
            else:
                parts.append(view[at:])
            break
        has_pixels = has_pixels or kind == b"IDAT"
        is_sound = zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")
        if is_critical or (is_sound and kind in _SHOWN_CHUNKS):
            parts.append(view[at:end])
        else:
            is_whole = False
        at = end
        if kind == b"IEND":
            if is_whole:
                return data
            break
    else:
        return data
    return b"".join(parts)


def with_end_mark(data: bytes) -> bytes:
    """Return a JPEG with an end mark behind its last byte."""
    return data.rstrip(b"\xff") + _END_MARK


def has_all_pixels(data: bytes, *, is_streamed: bool) -> bool:
    """Whether a JPEG from ``with_end_mark`` was complete: further bytes would change one that is cut off.

    The picture must be within the limits, since it is decoded twice: at an eighth of its size if it is
    streamed, else whole, because its last pass changes details only.
    """
    more = data[: -len(_END_MARK)] + _MORE_PIXELS + _END_MARK
    first, second = (_decoded(each, is_small=is_streamed) for each in (data, more))
    return ImageChops.difference(first, second).getbbox() is None


def _decoded(data: bytes, *, is_small: bool) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        if is_small:
            picture.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
        return picture.convert("RGB")
