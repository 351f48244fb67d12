"""A JPEG file without all that is not its picture, its pixels untouched: nothing is decoded or encoded."""

from __future__ import annotations

import re
from typing import Final

from PIL import Image

#: In front of every file: three components of it are YCbCr, whatever else stood there.
_JFIF: Final = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_EOI: Final = b"\xff\xd9"
_MARKER: Final = re.compile(rb"\xff+([\x01-\xfe])")
#: Within a scan, FF 00 is a byte of the picture and FF D0 to FF D7 restart the coder.
_SCAN_END: Final = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
#: Frame (baseline, extended, progressive), Huffman and quantisation tables, restart interval.
_KEPT: Final = frozenset((0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD))
_LEFT_OUT: Final = frozenset((*range(0xE0, 0xF0), 0xFE))
_SOS: Final = 0xDA
_YCBCR_IDS: Final = ((1, 2, 3), (0, 1, 2))
#: A viewer's colours are those of the profile, and Photoshop's mark changes what the components mean.
_CHANGING: Final = ("icc_profile", "adobe")


def is_plain(picture: Image.Image) -> bool:
    """Whether an opened picture is a JPEG that shows the same without its profile and metadata.

    Its orientation is another matter.
    """
    layers = getattr(picture, "layer", ())
    return (
        picture.format == "JPEG"
        and picture.mode == "RGB"
        and tuple(layer[0] for layer in layers) in _YCBCR_IDS
        and not any(name in picture.info for name in _CHANGING)
    )


def stripped(data: bytes) -> bytes | None:
    """Return the file with its tables and scans only, or None where it has parts that few files have.

    Args:
        data: a JPEG that passed ``shared.images.structure.check``.
    """
    parts, at, scans = [_JFIF], 2, 0
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            return None
        marker, begins = data[found.end() - 1], found.end() - 2
        if marker == _EOI[1]:
            return b"".join((*parts, _EOI)) if scans else None
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
        if marker == _SOS:
            end = _SCAN_END.search(data, at)
            if end is None:
                return None
            scans, at = scans + 1, end.start()
        elif marker not in _KEPT:
            if marker not in _LEFT_OUT:
                return None
            continue
        parts.append(data[begins:at])
