"""Encode clean files from untrusted ones: pixels only, without metadata and payload."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from shared.images.decoding import ImageLimits, open_picture, upright_rgb
from shared.images.formats import recognise

#: Longer side and maximum size of a stored query image: a model reads at most 640 pixels of it, and a box
#: that a shopper draws is a part.
QUERY_SIDE_PX = 1280
QUERY_MAX_BYTES = 1_000_000
_RENDITION_QUALITY = {"JPEG": 85, "WEBP": 80}
#: JPEG qualities, tried in order until the file is small enough; ordinary photos need only the first.
_QUALITIES = (90, 80, 65, 45)


@dataclass(frozen=True, slots=True)
class NormalisedImage:
    """A picture as it is stored and served.

    Attributes:
        jpeg: JPEG file in sRGB, 4:4:4, without metadata.
        width: pixels, upright.
        height: as ``width``.
        source_format: format of the input, such as ``HEIF``.
    """

    jpeg: bytes
    width: int
    height: int
    source_format: str


def normalise(
    data: bytes, limits: ImageLimits, max_side_px: int = QUERY_SIDE_PX, max_bytes: int = QUERY_MAX_BYTES
) -> NormalisedImage:
    """Scale a picture down to ``max_side_px`` and encode it again, so that only pixels are kept.

    Never scales up. EXIF with its location, profile, tables, comments and trailing bytes are dropped. If the
    best quality takes more than ``max_bytes``, as noise does, quality and then size are reduced.

    Raises:
        UnsupportedFormat, ImageTooLarge, UndecodableImage, OutOfMemory: as ``shared.images.decode``.
    """
    with open_picture(data, limits) as picture:
        fitted = _fitted(picture, limits, max_side_px)
    while True:
        for quality in _QUALITIES:
            # 4:4:4, because chroma subsampling blurs coloured edges, which the embedder uses.
            written = _written(fitted, "JPEG", quality=quality, subsampling=0)
            if len(written) <= max_bytes:
                format = recognise(data).picture or ""
                return NormalisedImage(written, fitted.width, fitted.height, format)
        fitted = fitted.resize(
            _scaled(fitted.size, 3 * max(fitted.size) // 4, limits.min_side_px), Image.Resampling.BICUBIC
        )


def rendition(
    data: bytes, limits: ImageLimits, max_side_px: int, format: Literal["WEBP", "JPEG"] = "WEBP"
) -> bytes:
    """Return a smaller copy for a page: pixels only, longer side at most ``max_side_px``.

    Raises:
        UnsupportedFormat, ImageTooLarge, UndecodableImage, OutOfMemory: as ``shared.images.decode``.
    """
    with open_picture(data, limits) as picture:
        fitted = _fitted(picture, limits, max_side_px)
        return _written(fitted, format, quality=_RENDITION_QUALITY[format])


def _fitted(picture: Image.Image, limits: ImageLimits, max_side_px: int) -> Image.Image:
    """Load upright RGB, scaled down so that the longer side is at most ``max_side_px``."""
    upright = upright_rgb(picture, limits, _scaled(picture.size, max_side_px, limits.min_side_px))
    size = _scaled(upright.size, max_side_px, limits.min_side_px)
    return upright if size == upright.size else upright.resize(size, Image.Resampling.BICUBIC)


def _scaled(size: tuple[int, int], max_side_px: int, min_side_px: int = 1) -> tuple[int, int]:
    """Return the size scaled to a longer side of at most ``max_side_px``.

    A side keeps at least ``min_side_px`` pixels, or all that it has: a long thin picture becomes less thin.
    """
    scale = min(1.0, max_side_px / max(size))
    width, height = (max(min(side, min_side_px), round(side * scale)) for side in size)
    return width, height


def _written(picture: Image.Image, format: str, **options: int) -> bytes:
    # Pillow would write profile and comment from `info`.
    picture.info.clear()
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()
