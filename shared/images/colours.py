"""Convert all of Pillow's pixel modes to 8-bit sRGB on white."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms

from shared.errors import UndecodableImage

_SIXTEEN_BIT_WHITE: Final = 65_535
#: Dividing by 257 maps 65,535 to 255, whereas Pillow's convert() makes all levels above 255 white.
_SIXTEEN_TO_EIGHT: Final[NDArray[np.uint8]] = np.rint(np.arange(_SIXTEEN_BIT_WHITE + 1) / 257).astype(
    np.uint8
)
#: No profile of a camera or printer is larger than this.
_MAX_PROFILE_BYTES: Final = 4_000_000
_BAND_ROWS: Final = 256
#: Colours that show whether a profile is that of sRGB, and levels by which it may differ.
_PROBED: Final = (*((v, v, v) for v in range(0, 256, 15)), (200, 30, 30), (30, 200, 30), (30, 30, 200))
_UNSEEN_LEVELS: Final = 2


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert a loaded picture to mode RGB, with its profile applied and transparent parts on white.

    Raises:
        UndecodableImage: its values are not colours (infinite, or beyond 16 bits).
    """
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith(("I", "F")):
        picture = _eight_bit(picture)
    if picture.mode in ("RGBa", "La"):
        picture = picture.convert(picture.mode[:-1] + "A")
    if not picture.has_transparency_data:
        return _to_srgb(picture, profile)
    # Pillow stores four bytes per pixel, so that each avoided copy saves 200 MB at 50 megapixels.
    rgba = picture if picture.mode == "RGBA" else picture.convert("RGBA")
    if rgba.getchannel("A").getextrema()[1] == 0:
        # Exporters that know no transparency leave it at zero: as it says, nothing at all could be seen.
        return _to_srgb(rgba.convert("RGB"), profile)
    clear = ImageChops.invert(rgba.getchannel("A"))
    colours = _to_srgb(rgba.convert("RGB"), profile)
    colours.paste("white", mask=clear)
    return colours


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Convert 16-bit, 32-bit and float grey to L, or to LA if one grey level is transparent."""
    levels = np.asarray(picture)
    if picture.mode.startswith("I;16"):
        grey = Image.fromarray(_by_bands(levels, lambda band: _SIXTEEN_TO_EIGHT[band]))
        clear_level = picture.info.get("transparency")
        if isinstance(clear_level, int):
            opacity = np.where(levels == clear_level, 0, 255).astype(np.uint8)
            grey.putalpha(Image.fromarray(opacity))
        return grey
    low, high = float(levels.min()), float(levels.max())
    # Also false for NaN.
    if not (low >= 0 and high <= _SIXTEEN_BIT_WHITE):
        raise UndecodableImage(
            "The values of the picture are not colours: save it with 8 or 16 bits per channel."
        )
    if picture.mode == "I":
        return Image.fromarray(_by_bands(levels, lambda band: _SIXTEEN_TO_EIGHT[band]))
    # Floats have no unit: programs write 0 to 1, or the values of the 8-bit or 16-bit original.
    factor = 255.0 if high <= 1 else 1.0 if high <= 255 else 1 / 257
    return Image.fromarray(_by_bands(levels, lambda band: np.rint(band * factor).astype(np.uint8)))


def _by_bands(
    levels: NDArray[Any], convert: Callable[[NDArray[Any]], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Convert a grey picture in bands, because intermediate indices and floats take eight bytes per pixel."""
    grey = np.empty(levels.shape, np.uint8)
    for top in range(0, len(levels), _BAND_ROWS):
        grey[top : top + _BAND_ROWS] = convert(levels[top : top + _BAND_ROWS])
    return grey


def _keeps_colours(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a conversion leaves colours as they are, within an invisible difference."""
    shades = Image.new("RGB", (len(_PROBED), 1))
    shades.putdata(_PROBED)
    converted = ImageCms.applyTransform(shades, transform)
    if converted is None:
        return False
    difference = np.abs(np.asarray(shades, np.int16) - np.asarray(converted, np.int16))
    return int(difference.max()) <= _UNSEEN_LEVELS


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB by the embedded profile, or by Pillow's rules without a valid one."""
    if profile and len(profile) <= _MAX_PROFILE_BYTES:
        source = picture if picture.mode in ("L", "RGB", "CMYK", "LAB") else picture.convert("RGB")
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            transform = ImageCms.buildTransform(embedded, ImageCms.createProfile("sRGB"), source.mode, "RGB")
            # By what it does, not by its name: "sRGB (linear)" is another one.
            if source.mode == "RGB" and _keeps_colours(transform):
                return source
            converted = ImageCms.applyTransform(source, transform)
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            # Broken profiles, and profiles of other colour spaces, are common and no reason to reject.
            pass
    return picture if picture.mode == "RGB" else picture.convert("RGB")
