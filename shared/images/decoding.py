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
from shared.images import structure
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

_BAND_ROWS: Final = 256
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
        max_pixels: most pixels, width times height.
        max_side_px: longest side.
        min_side_px: shortest side; below it there is nothing to recognise.
        formats: Pillow's names of the formats taken.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
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
    with opened(data, limits) as picture:
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
        min_side_needed_px: let a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, as long as its
            shorter side keeps at least this many pixels; None decodes at full size.

    Raises:
        UnsupportedFormat, ImageTooLarge, UndecodableImage, OutOfMemory: as ``probe``; and
            UndecodableImage for a file whose pixels are cut off or damaged.
    """
    with opened(data, limits) as picture:
        least = None if min_side_needed_px is None else (min_side_needed_px, min_side_needed_px)
        return _pixels(upright_rgb(picture, limits, least))


@contextmanager
def opened(data: bytes, limits: ImageLimits) -> Iterator[Image.Image]:
    """Open a picture whose header is within the limits, by the one parser of its format.

    Whatever Pillow raises in the body of the ``with`` becomes one of our errors, as in ``probe``.
    """
    kind = _accepted_format(data, limits)
    try:
        structure.check(data, kind)
        canvas = structure.webp_canvas(data) if kind == "WEBP" else None
        if canvas is not None:
            _check_size(canvas, limits)
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            _check_size(picture.size, limits)
            yield picture
    except VitrineError:
        raise
    except MemoryError as error:
        raise OutOfMemory("There is no memory left to read this picture: try again in a minute.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(_too_many_pixels(limits)) from error
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
        picture: from ``opened``.
        limits: as given to ``opened``.
        least_px: width and height, as stored, that a JPEG must keep when it is decoded smaller.
    """
    if least_px is not None:
        picture.draft(None, least_px)
    picture.load()
    # Some parsers learn the true size only while they read the pixels.
    _check_size(picture.size, limits, smallest_px=1)
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
    taken = limits.formats if _HEIF_WORKS else limits.formats - {"HEIF"}
    if found.picture is not None and found.picture in taken:
        return found.picture
    names = [name for picture, name in PICTURES.items() if picture in taken]
    wanted = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
    what = f"This is {found.name}" if found.name else "This file is not a picture of a known format"
    raise UnsupportedFormat(f"{what}: send {wanted} instead.")


def _check_size(size: tuple[int, int], limits: ImageLimits, smallest_px: int | None = None) -> None:
    width, height = size
    smallest_px = limits.min_side_px if smallest_px is None else smallest_px
    if width * height > limits.max_pixels:
        raise ImageTooLarge(_too_many_pixels(limits))
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


def _too_many_pixels(limits: ImageLimits) -> str:
    most = f"{limits.max_pixels / 1e6:g} megapixels"
    return f"The picture has more than {most}, the most that is read: scale it down."


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def is_upright(picture: Image.Image) -> bool:
    """Whether an opened picture shows as it is stored."""
    return _orientation(picture) not in _UPRIGHT


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; broken EXIF counts as upright, as in every viewer."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:
        # The EXIF parser has no base class of errors either, and pixels do not need it.
        return 1
    return value if isinstance(value, int) else 1
