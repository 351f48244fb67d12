"""Orientation, pixel modes and colour profiles: what a picture looks like once it is decoded."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shared import images
from shared.images import CATALOGUE_FORMATS, ImageLimits, colours
from tests import builders

LIMITS = ImageLimits()
CATALOGUE = ImageLimits(formats=CATALOGUE_FORMATS)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_same_pixels(format: str, orientation: int) -> None:
    wanted = builders.gradient()
    found = images.decode(builders.oriented(wanted, orientation, format), LIMITS)
    assert builders.near(found, wanted, 0 if format == "PNG" else 12)
    normalised = images.normalise(builders.oriented(wanted, orientation, format), LIMITS)
    assert (normalised.width, normalised.height) == (96, 64)


def test_broken_exif_counts_as_upright() -> None:
    data = builders.encoded(builders.gradient(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff\xff")
    assert builders.near(images.decode(data, LIMITS), builders.gradient(), 6)


def picture_modes() -> dict[str, tuple[bytes, np.ndarray]]:
    """Return, by mode, a file and the pixels that a person sees in it."""
    rgb = builders.picture(5)
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    half = np.full(rgb.shape[:2], 128, np.uint8)
    on_white = np.rint(rgb * (128 / 255) + 255 * (127 / 255)).astype(np.uint8)
    grey_on_white = np.rint(grey * (128 / 255) + 255 * (127 / 255)).astype(np.uint8)
    clear = np.dstack([np.full_like(rgb, (255, 0, 0)), np.zeros(rgb.shape[:2], np.uint8)])
    bits = rgb[..., 0] > 127
    black_and_white = np.repeat(np.where(bits, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    cmyk = Image.fromarray(np.dstack([255 - rgb, np.zeros(rgb.shape[:2], np.uint8)]), "CMYK")
    palette = Image.fromarray(rgb).quantize(256)
    few = Image.fromarray(builders.picture(5, blocks=3)).quantize(16)
    sixteen = rgb[..., 0].astype(np.uint16) * 257
    keyed = grey.copy()
    keyed[rgb[..., 0] == rgb[0, 0, 0]] = 255
    return {
        "RGB": (builders.encoded(rgb, "PNG"), rgb),
        "L": (builders.encoded(rgb[..., 0], "PNG"), grey),
        "1": (builders.encoded(Image.fromarray(bits), "PNG"), black_and_white),
        "P": (builders.encoded(palette, "PNG"), np.asarray(palette.convert("RGB"))),
        "P of a GIF": (builders.encoded(few, "GIF"), np.asarray(few.convert("RGB"))),
        "P with a clear colour": (
            builders.encoded(few, "PNG", transparency=few.getpixel((0, 0))),
            np.where(
                (np.asarray(few) == few.getpixel((0, 0)))[..., None], 255, np.asarray(few.convert("RGB"))
            ),
        ),
        "RGBA": (builders.encoded(np.dstack([rgb, half]), "PNG"), on_white),
        "RGBA WebP": (builders.encoded(np.dstack([rgb, half]), "WEBP", lossless=True), on_white),
        "RGBA wholly clear red": (builders.encoded(clear, "PNG"), np.full_like(rgb, (255, 0, 0))),
        "LA": (builders.encoded(np.dstack([rgb[..., 0], half]), "PNG"), grey_on_white),
        "CMYK": (builders.encoded(cmyk), rgb),
        "16-bit grey": (builders.encoded(sixteen, "PNG"), grey),
        "16-bit grey with a clear level": (sixteen_bit_keyed(sixteen), keyed),
        "16-bit grey TIFF": (builders.encoded(sixteen, "TIFF"), grey),
        "32-bit TIFF of 16-bit numbers": (builders.encoded(sixteen.astype(np.int32), "TIFF"), grey),
        "float TIFF 0 to 1": (builders.float_tiff(rgb, 1.0), grey),
        "float TIFF 0 to 255": (builders.float_tiff(rgb, 255.0), grey),
        "float TIFF 0 to 65,535": (builders.float_tiff(rgb, 65_535.0), grey),
        "BMP": (builders.encoded(rgb, "BMP"), rgb),
    }


def sixteen_bit_keyed(levels: np.ndarray) -> bytes:
    """Return a 16-bit grey PNG in which the first pixel's level is transparent."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    key = builders.png_chunk(b"tRNS", int(levels[0, 0]).to_bytes(2, "big"))
    return builders.png(levels.shape[1], levels.shape[0], rows, bits=16, extra=key)


MODES = picture_modes()


@pytest.mark.parametrize(("data", "wanted"), MODES.values(), ids=MODES.keys())
def test_every_pixel_mode_shows_its_colours(data: bytes, wanted: np.ndarray) -> None:
    # CMYK has been through a JPEG, hard block edges and all.
    assert builders.near(
        images.decode(data, CATALOGUE), wanted, 45 if images.probe(data, CATALOGUE).mode == "CMYK" else 3
    )


def test_cmyk_of_flat_colours_is_within_three_levels() -> None:
    rgb = np.repeat(np.array([[[200, 30, 60]]], np.uint8), 64, 0).repeat(64, 1)
    cmyk = Image.fromarray(np.dstack([255 - rgb, np.zeros((64, 64), np.uint8)]), "CMYK")
    assert builders.near(images.decode(builders.encoded(cmyk, quality=100), LIMITS), rgb)


def test_sixteen_bits_are_divided_by_257() -> None:
    levels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    found = images.decode(builders.encoded(levels, "PNG"), LIMITS)
    assert builders.near(found[..., 0], np.rint(levels / 257).astype(np.uint8), 0)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "HEIF"])
def test_profile_is_converted_to_srgb(format: str) -> None:
    stored = np.tile(np.array([200, 80, 60], np.uint8), (64, 64, 1))
    linear = (stored[0, 0] / 255) ** builders.PROFILE_GAMMA
    # Standard matrix from XYZ (D50) to linear sRGB, and sRGB's own curve.
    to_srgb = np.array(
        [[3.13405, -1.61703, -0.49064], [-0.97876, 1.91614, 0.03345], [0.07194, -0.22897, 1.40527]]
    )
    light = np.clip(to_srgb @ (linear @ builders.P3_TO_XYZ), 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    wanted = np.tile(np.rint(curve * 255).astype(np.uint8), (64, 64, 1))
    assert not builders.near(stored, wanted, 15)
    options = {"quality": 100} if format != "PNG" else {}
    data = builders.encoded(stored, format, icc_profile=builders.p3_profile(), **options)
    assert builders.near(images.decode(data, LIMITS), wanted, 3)


@pytest.mark.parametrize("profile", [b"no profile at all", builders.p3_profile()[:200]])
def test_broken_profile_is_left_out(profile: bytes) -> None:
    data = builders.encoded(builders.picture(6), "PNG", icc_profile=profile)
    assert builders.near(images.decode(data, LIMITS), builders.picture(6), 0)


def test_profile_of_another_colour_space_is_left_out() -> None:
    grey = builders.picture(6)[..., 0]
    data = builders.encoded(grey, "PNG", icc_profile=builders.p3_profile())
    assert builders.near(images.decode(data, LIMITS), np.repeat(grey[..., None], 3, 2), 0)


def test_sixteen_bit_table_reaches_both_ends() -> None:
    assert colours._SIXTEEN_TO_EIGHT[[0, 128, 129, 65_535]].tolist() == [0, 0, 1, 255]
