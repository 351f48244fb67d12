"""Clean files out of untrusted ones: pixels only, no metadata, no payload."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from shared.images import jpeg
from shared.images.decoding import ImageLimits, is_upright, opened, upright_rgb
from shared.images.formats import recognise

_RENDITION_QUALITY = {"JPEG": 85, "WEBP": 80}


@dataclass(frozen=True, slots=True)
class NormalisedImage:
    """A picture as it is kept and served.

    Attributes:
        jpeg: the file, JPEG in sRGB without metadata; 4:4:4 unless it was a JPEG that could stay as it is.
        width: pixels, upright.
        height: as ``width``.
        source_format: what was sent, such as ``HEIF``.
    """

    jpeg: bytes
    width: int
    height: int
    source_format: str


def normalise(
    data: bytes, limits: ImageLimits, max_side_px: int = 1280, quality: int = 90
) -> NormalisedImage:
    """Scale down to ``max_side_px`` and write anew, so that nothing but the picture is kept.

    It never grows. Neither EXIF (with its place), profile, comment nor trailing bytes survive. A JPEG that is
    small enough, upright and in sRGB is not decoded: it keeps its pixels and loses the rest, and whether they
    can be read shows when they are.

    Raises:
        UnsupportedFormat, ImageTooLarge, UndecodableImage, OutOfMemory: as ``shared.images.decode``.
    """
    with opened(data, limits) as picture:
        if max(picture.size) <= max_side_px and jpeg.is_plain(picture) and is_upright(picture):
            plain = jpeg.stripped(data)
            if plain is not None:
                return NormalisedImage(plain, picture.width, picture.height, "JPEG")
        fitted = _fitted(picture, limits, max_side_px)
        # 4:4:4, because a red shirt's edge is what an embedder looks at.
        written = _written(fitted, "JPEG", quality=quality, subsampling=0)
    return NormalisedImage(written, fitted.width, fitted.height, recognise(data).picture or "")


def rendition(
    data: bytes, limits: ImageLimits, max_side_px: int, format: Literal["WEBP", "JPEG"] = "WEBP"
) -> bytes:
    """Return a smaller copy for a page: pixels only, longest side at most ``max_side_px``.

    Raises:
        UnsupportedFormat, ImageTooLarge, UndecodableImage, OutOfMemory: as ``shared.images.decode``.
    """
    with opened(data, limits) as picture:
        fitted = _fitted(picture, limits, max_side_px)
        return _written(fitted, format, quality=_RENDITION_QUALITY[format])


def _fitted(picture: Image.Image, limits: ImageLimits, max_side_px: int) -> Image.Image:
    """Load upright RGB, scaled down so that the longest side is at most ``max_side_px``."""
    upright = upright_rgb(picture, limits, _scaled(picture.size, max_side_px))
    size = _scaled(upright.size, max_side_px)
    return upright if size == upright.size else upright.resize(size, Image.Resampling.BICUBIC)


def _scaled(size: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    """Return the size with the longest side at most ``max_side_px``, and no side under one pixel."""
    scale = min(1.0, max_side_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _written(picture: Image.Image, format: str, **options: int) -> bytes:
    # Pillow copies profile and comment from `info` into what it writes.
    picture.info.clear()
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()
