"""Decode untrusted bytes to upright RGB pixels, within limits."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Imported for their side effect: each registers its format, so that no call has to load plugins.
from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401

from shared.errors import ImageTooLarge, OutOfMemory, UndecodableImage, UnsupportedFormat, VitrineError
from shared.images import av1, repair, structure
from shared.images.colours import to_rgb
from shared.images.formats import PICTURES, recognise

try:
    import pillow_heif

    # An embedded thumbnail must never replace the picture; depth maps are not needed.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    _HEIF_WORKS = True
except ImportError:
    _HEIF_WORKS = False

# At import, because warning filters are global to the process. The limits below do not depend on it.
warnings.simplefilter("error", Image.DecompressionBombWarning)

#: Formats of shoppers' photos. TIFF has the largest parser, and no browser or phone writes it.
DEFAULT_FORMATS: Final = frozenset(("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "BMP"))
#: Formats of catalogue pictures, which need an API key: studios deliver TIFF.
CATALOGUE_FORMATS: Final = DEFAULT_FORMATS | {"TIFF"}

#: libwebp needs four copies of a picture in memory while decoding, other decoders need three.
_WEBP_SHARE: Final = 0.75
_BAND_ROWS: Final = 256
#: Maximum number of scans of a JPEG of the maximum size; encoders write ten. Smaller ones may have more.
_MAX_SCANS_OF_LARGEST: Final = 12
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits of pictures, checked before a pixel is decoded.

    Attributes:
        max_bytes: maximum file size.
        max_pixels: maximum width times height.
        max_jpeg_pixels: maximum width times height of a JPEG with one scan, as cameras write it. It is
            decoded row by row at a fraction of its size, at a tenth of the cost of other pictures.
        max_side_px: maximum length of the longer side.
        min_side_px: minimum length of the shorter side; smaller pictures cannot be recognised.
        formats: Pillow's names of the accepted formats.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_jpeg_pixels: int = 50_000_000
    max_side_px: int = 16_000
    min_side_px: int = 16
    formats: frozenset[str] = DEFAULT_FORMATS


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The header of a picture.

    Attributes:
        format: one of ``shared.images.formats.PICTURES``.
        width: pixels as stored, before the EXIF orientation is applied.
        height: as ``width``.
        mode: Pillow's pixel mode, such as ``RGB`` or ``CMYK``.
        animated: whether the file has more than one frame; only the first is used.
    """

    format: str
    width: int
    height: int
    mode: str
    animated: bool


def probe(data: bytes, limits: ImageLimits) -> ImageInfo:
    """Read the header only.

    Raises:
        UnsupportedFormat: no picture, or an unsupported format, which the message names.
        ImageTooLarge: over a limit of bytes, pixels or side length.
        UndecodableImage: empty, damaged, truncated or too small.
        OutOfMemory: the process has no memory left.
    """
    with open_picture(data, limits) as picture:
        kind = recognise(data).picture or ""
        if kind == "GIF":
            animated = structure.count_gif_frames(data, at_most=2) > 1
        else:
            # Further pictures of a JPEG or HEIC, and pages of a TIFF, are no animation.
            animated = kind in ("PNG", "WEBP", "AVIF") and bool(getattr(picture, "is_animated", False))
        return ImageInfo(kind, picture.width, picture.height, picture.mode, animated)


def decode(data: bytes, limits: ImageLimits, min_side_needed_px: int | None = None) -> NDArray[np.uint8]:
    """Decode to ``(H, W, 3) uint8`` RGB: upright, in sRGB, transparent parts on white, first frame.

    Args:
        data: content of the file.
        limits: limits of the picture.
        min_side_needed_px: scale down by 2, 4 or 8 as long as the shorter side has at least this many pixels;
            None decodes at full size. The decoder of JPEG does the scaling itself.

    Raises:
        UnsupportedFormat, ImageTooLarge, UndecodableImage, OutOfMemory: as ``probe``; UndecodableImage also
            for truncated or damaged pixels.
    """
    with open_picture(data, limits) as picture:
        if min_side_needed_px is None:
            return _pixels(upright_rgb(picture, limits))
        upright = upright_rgb(picture, limits, (min_side_needed_px, min_side_needed_px))
        # The JPEG decoder has scaled already.
        factor = 1 if picture.format == "JPEG" else _factor(min(upright.size), min_side_needed_px)
        return _pixels(upright if factor == 1 else upright.reduce(factor))


def _factor(side_px: int, min_side_px: int) -> int:
    """Return the factor by which a side can be divided: 1, 2, 4 or 8."""
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or factor * min_side_px <= side_px)


def decodable_formats() -> frozenset[str]:
    """Return Pillow's names of the decodable formats; HEIC needs a separate package."""
    return frozenset(PICTURES) if _HEIF_WORKS else frozenset(PICTURES) - {"HEIF"}


@contextmanager
def open_picture(data: bytes, limits: ImageLimits) -> Iterator[Image.Image]:
    """Open a picture whose header is within the limits, with the parser of its format only.

    Converts all exceptions of Pillow in the body of the ``with`` to the errors of ``probe``.
    """
    kind = _accepted_format(data, limits)
    try:
        data, layout, is_repaired = _sound(data, kind)
        # The size in the bitstream: that of the container is checked below, but libraries may scale to it.
        for size in coded_sizes(data, kind):
            _check_size(size, limits, smallest_px=1, share=_WEBP_SHARE if kind == "WEBP" else 1.0)
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            _check_size(picture.size, limits, is_streamed=layout is not None and layout.is_streamed)
            if layout is not None:
                _check_scans(picture.size, layout.scans, limits)
                if is_repaired and not repair.has_all_pixels(data, is_streamed=layout.is_streamed):
                    raise UndecodableImage(structure.CUT_OFF)
            if picture.info.get("default_image") and getattr(picture, "n_frames", 1) > 1:
                picture.seek(1)  # of an APNG whose still picture is not shown by what shows animations
            yield picture
    except VitrineError:
        raise
    except MemoryError as error:
        raise OutOfMemory("There is no memory left to read this picture: try again in a minute.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(_too_many_pixels(limits.max_pixels, limits)) from error
    except Exception as error:
        # The exceptions of Pillow's parsers share no base class: OSError, SyntaxError, ValueError,
        # struct.error, EOFError, OverflowError, RuntimeError and more all mean that the file is damaged.
        raise UndecodableImage(
            f"The {PICTURES[kind]} picture cannot be read, because it is truncated or damaged: "
            "export or take it again."
        ) from error


def _sound(data: bytes, kind: str) -> tuple[bytes, structure.JpegLayout | None, bool]:
    """Return the file as its decoder may see it, its layout, and whether an end mark was added to a JPEG."""
    if kind == "PNG":
        data = repair.clean_png(data)
    try:
        return data, structure.check(data, kind), False
    except UndecodableImage as error:
        if kind != "JPEG" or error.message != structure.CUT_OFF:
            raise
        ended = repair.with_end_mark(data)
        return ended, structure.check(ended, kind), True


def upright_rgb(
    picture: Image.Image, limits: ImageLimits, min_size_px: tuple[int, int] | None = None
) -> Image.Image:
    """Load an opened picture as mode RGB, rotated by its EXIF orientation.

    Args:
        picture: from ``open_picture``.
        limits: as given to ``open_picture``.
        min_size_px: minimum width and height, as stored, of a JPEG that is decoded at a smaller size.
    """
    if min_size_px is not None:
        picture.draft(None, min_size_px)
    picture.load()
    if hasattr(picture, "_decoder"):
        # The decoders of WebP and AVIF keep two more pictures for a next frame, which is never read.
        picture._decoder = None
    # Some parsers find the true size only while reading the pixels.
    _check_size(picture.size, limits, smallest_px=1, is_streamed=picture.format == "JPEG")
    turn = _UPRIGHT.get(_orientation(picture))
    colours = to_rgb(picture)
    return colours if turn is None else colours.transpose(turn)


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """Copy an RGB picture in bands, because NumPy's conversion needs three copies in memory."""
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, picture.height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return pixels


def _accepted_format(data: bytes, limits: ImageLimits) -> str:
    if not data:
        raise UndecodableImage("The file is empty: choose the picture again.")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"The file has {_megabytes(len(data))}, and the maximum is {_megabytes(limits.max_bytes)}: "
            "send a smaller one."
        )
    found = recognise(data)
    accepted = limits.formats & decodable_formats()
    if found.picture is not None and found.picture in accepted:
        return found.picture
    names = [name for picture, name in PICTURES.items() if picture in accepted]
    formats = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
    what = f"This is {found.name}" if found.name else "This file is not a picture of a known format"
    raise UnsupportedFormat(f"{what}: send {formats} instead.")


def coded_sizes(data: bytes, kind: str) -> list[tuple[int, int]]:
    """Return the sizes in the bitstream for formats whose container may state another size."""
    if kind == "WEBP":
        canvas = structure.webp_canvas(data)
        return [] if canvas is None else [canvas]
    return av1.coded_sizes(data) if kind == "AVIF" else []


def _check_scans(size: tuple[int, int], scans: int, limits: ImageLimits) -> None:
    """Limit the total cost of a JPEG's scans."""
    if scans > 1 and size[0] * size[1] * scans > _MAX_SCANS_OF_LARGEST * limits.max_pixels:
        raise ImageTooLarge(
            f"The picture is stored in {scans} scans, too many for its {size[0] * size[1] / 1e6:.0f} "
            "megapixels: save it as a baseline JPEG, or scale it down."
        )


def _check_size(
    size: tuple[int, int],
    limits: ImageLimits,
    smallest_px: int | None = None,
    is_streamed: bool = False,
    share: float = 1.0,
) -> None:
    width, height = size
    smallest_px = limits.min_side_px if smallest_px is None else smallest_px
    most = max(limits.max_pixels, limits.max_jpeg_pixels) if is_streamed else int(share * limits.max_pixels)
    if width * height > most:
        raise ImageTooLarge(_too_many_pixels(most, limits))
    if max(size) > limits.max_side_px:
        raise ImageTooLarge(
            f"The picture is {width} by {height} pixels, and no side may be longer than "
            f"{limits.max_side_px}: crop it or scale it down."
        )
    if min(size) < smallest_px:
        raise UndecodableImage(
            f"The picture is {width} by {height} pixels, and each side needs at least {smallest_px}: "
            "send a larger one."
        )


def _too_many_pixels(most: int, limits: ImageLimits) -> str:
    text = f"The picture has more than {most / 1e6:g} megapixels, the maximum"
    if most < limits.max_jpeg_pixels:
        text += f" (a baseline JPEG may have {limits.max_jpeg_pixels / 1e6:g})"
    return f"{text}: scale it down."


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; broken EXIF counts as upright, as in image viewers."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:
        # The exceptions of the EXIF parser share no base class, and the pixels can be read without it.
        return 1
    return value if isinstance(value, int) else 1
