"""The one safe decoder: bytes from anywhere to upright RGB pixels, or one of our errors."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Imported for their effect: each makes its format known, so that no call has to load plugins.
from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401

from shared.errors import ImageTooLarge, OutOfMemory, UndecodableImage, UnsupportedFormat, VitrineError
from shared.images import av1, structure
from shared.images.colours import to_rgb
from shared.images.formats import PICTURES, recognise

try:
    import pillow_heif

    # An embedded thumbnail must never stand in for the picture; depth maps are not needed.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    _HEIF_WORKS = True
except ImportError:
    _HEIF_WORKS = False

# Once, at import: the filters are the whole process's. The limits below do not depend on it.
warnings.simplefilter("error", Image.DecompressionBombWarning)

#: What anybody may send. TIFF is left out: its parser is the largest, and no browser or phone makes it.
DEFAULT_FORMATS: Final = frozenset(("JPEG", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "BMP"))
#: What a catalogue keeper, who holds a key, may import besides: studios deliver TIFF.
CATALOGUE_FORMATS: Final = DEFAULT_FORMATS | {"TIFF"}

#: libwebp holds four copies of a picture while it decodes, others hold three.
_WEBP_SHARE: Final = 0.75
_BAND_ROWS: Final = 256
#: Passes that a JPEG of the maximum size may have; encoders write ten. Smaller ones may have more.
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
    """What a picture may be; all are checked before a pixel is decoded.

    Attributes:
        max_bytes: largest file.
        max_pixels: maximum pixels, width times height.
        max_jpeg_pixels: the same of a JPEG with one scan, as cameras write it. It is decoded at a fraction of
            its size, row by row, so that it costs a tenth of another picture of as many pixels.
        max_side_px: longest side.
        min_side_px: shortest side; below it there is nothing to recognise.
        formats: Pillow's names of the formats taken.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_jpeg_pixels: int = 50_000_000
    max_side_px: int = 16_000
    min_side_px: int = 16
    formats: frozenset[str] = DEFAULT_FORMATS


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a picture's header says.

    Attributes:
        format: one of ``shared.images.formats.PICTURES``.
        width: pixels as stored, before the EXIF orientation is applied.
        height: as ``width``.
        mode: Pillow's pixel mode, such as ``RGB`` or ``CMYK``.
        animated: whether there are more frames than the first, which alone is ever used.
    """

    format: str
    width: int
    height: int
    mode: str
    animated: bool


def probe(data: bytes, limits: ImageLimits) -> ImageInfo:
    """Read the header only.

    Raises:
        UnsupportedFormat: not a picture, or of a format not taken; the message names what it is.
        ImageTooLarge: over a limit in bytes, pixels or side.
        UndecodableImage: empty, damaged, cut off, or too small.
        OutOfMemory: the process has no memory left.
    """
    with open_picture(data, limits) as picture:
        kind = recognise(data).picture or ""
        if kind == "GIF":
            animated = structure.count_gif_frames(data, at_most=2) > 1
        else:
            # A JPEG's or HEIC's further pictures, and a TIFF's pages, are no animation.
            animated = kind in ("PNG", "WEBP", "AVIF") and bool(getattr(picture, "is_animated", False))
        return ImageInfo(kind, picture.width, picture.height, picture.mode, animated)


def decode(data: bytes, limits: ImageLimits, min_side_needed_px: int | None = None) -> NDArray[np.uint8]:
    """Decode to ``(H, W, 3) uint8`` RGB: upright, in sRGB, transparent parts on white, first frame.

    Args:
        data: the file's bytes.
        limits: what is refused.
        min_side_needed_px: make the picture 2, 4 or 8 times smaller, as long as its shorter side keeps at
            least this many pixels; None decodes at full size. A JPEG is decoded at that size.

    Raises:
        UnsupportedFormat, ImageTooLarge, UndecodableImage, OutOfMemory: as ``probe``; and
            UndecodableImage for a file whose pixels are cut off or damaged.
    """
    with open_picture(data, limits) as picture:
        if min_side_needed_px is None:
            return _pixels(upright_rgb(picture, limits))
        upright = upright_rgb(picture, limits, (min_side_needed_px, min_side_needed_px))
        # A JPEG's decoder did it already.
        factor = 1 if picture.format == "JPEG" else _factor(min(upright.size), min_side_needed_px)
        return _pixels(upright if factor == 1 else upright.reduce(factor))


def _factor(side_px: int, min_side_px: int) -> int:
    """Return by how much a side can be divided: 1, 2, 4 or 8."""
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or factor * min_side_px <= side_px)


def decodable_formats() -> frozenset[str]:
    """Return Pillow's names of the formats that can be decoded here: HEIC needs a package of its own."""
    return frozenset(PICTURES) if _HEIF_WORKS else frozenset(PICTURES) - {"HEIF"}


@contextmanager
def open_picture(data: bytes, limits: ImageLimits) -> Iterator[Image.Image]:
    """Open a picture whose header is within the limits, by the one parser of its format.

    Whatever Pillow raises in the body of the ``with`` becomes one of our errors, as in ``probe``.
    """
    kind = _accepted_format(data, limits)
    try:
        layout = structure.check(data, kind)
        # What the pixels' own header says: the container's word is checked below, but libraries may scale.
        for size in coded_sizes(data, kind):
            _check_size(size, limits, smallest_px=1, share=_WEBP_SHARE if kind == "WEBP" else 1.0)
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            _check_size(picture.size, limits, is_streamed=layout is not None and layout.is_streamed)
            if layout is not None:
                _check_scans(picture.size, layout.scans, limits)
            yield picture
    except VitrineError:
        raise
    except MemoryError as error:
        raise OutOfMemory("There is no memory left to read this picture: try again in a minute.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(_too_many_pixels(limits.max_pixels, limits)) from error
    except Exception as error:
        # Pillow's parsers share no base class: OSError, SyntaxError, ValueError, struct.error,
        # EOFError, OverflowError, RuntimeError and more all mean that the file is not sound.
        raise UndecodableImage(
            f"The {PICTURES[kind]} picture cannot be read, because it is cut off or damaged: "
            "export or take it again."
        ) from error


def upright_rgb(
    picture: Image.Image, limits: ImageLimits, least_px: tuple[int, int] | None = None
) -> Image.Image:
    """Load an opened picture as mode RGB, turned as its EXIF orientation says.

    Args:
        picture: from ``open_picture``.
        limits: as given to ``open_picture``.
        least_px: width and height, as stored, that a JPEG must keep when it is decoded smaller.
    """
    if least_px is not None:
        picture.draft(None, least_px)
    picture.load()
    if hasattr(picture, "_decoder"):
        # WebP's and AVIF's decoders keep two more pictures, for a next frame that is never asked for.
        picture._decoder = None
    # Some parsers learn the true size only while they read the pixels.
    _check_size(picture.size, limits, smallest_px=1, is_streamed=picture.format == "JPEG")
    turn = _UPRIGHT.get(_orientation(picture))
    colours = to_rgb(picture)
    return colours if turn is None else colours.transpose(turn)


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """Copy an RGB picture band by band: NumPy's own way holds it three times over."""
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
            f"The file has {_megabytes(len(data))}, and {_megabytes(limits.max_bytes)} is the most: "
            "send a smaller one."
        )
    found = recognise(data)
    taken = limits.formats & decodable_formats()
    if found.picture is not None and found.picture in taken:
        return found.picture
    names = [name for picture, name in PICTURES.items() if picture in taken]
    wanted = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
    what = f"This is {found.name}" if found.name else "This file is not a picture of a known format"
    raise UnsupportedFormat(f"{what}: send {wanted} instead.")


def coded_sizes(data: bytes, kind: str) -> list[tuple[int, int]]:
    """Return width and height of what is coded, where a container could say something else of it."""
    if kind == "WEBP":
        canvas = structure.webp_canvas(data)
        return [] if canvas is None else [canvas]
    return av1.coded_sizes(data) if kind == "AVIF" else []


def _check_scans(size: tuple[int, int], scans: int, limits: ImageLimits) -> None:
    """Bound what a JPEG's passes over the whole picture cost together."""
    if scans > 1 and size[0] * size[1] * scans > _MAX_SCANS_OF_LARGEST * limits.max_pixels:
        raise ImageTooLarge(
            f"The picture is stored in {scans} passes, too many for its {size[0] * size[1] / 1e6:.0f} "
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
    """Return the EXIF orientation, 1 to 8; broken EXIF counts as upright, as in every viewer."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:
        # The EXIF parser has no base class of errors either, and pixels do not need it.
        return 1
    return value if isinstance(value, int) else 1
