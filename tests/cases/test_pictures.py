"""Pictures that every browser shows are taken, and never a wrong one (cases 17, 20, 27, 28)."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from shared.errors import UndecodableImage
from shared.images.decoding import CATALOGUE_FORMATS, ImageLimits, decode, probe
from shared.images.encoding import normalise

LIMITS = ImageLimits(formats=CATALOGUE_FORMATS)


def photo(width: int = 96, height: int = 64) -> Image.Image:
    noise = np.random.default_rng(7).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def differs(data: bytes, picture: Image.Image) -> float:
    """Mean difference between what is decoded and what was saved, in levels."""
    return float(np.abs(decode(data, LIMITS).astype(int) - np.asarray(picture).astype(int)).mean())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_mark_is_whole(options: dict[str, Any], missing: int) -> None:
    data = saved(photo(), "JPEG", **options)[:-missing]
    assert probe(data, LIMITS).width == 96
    assert differs(data, photo()) < 12
    assert differs(data, photo()) == pytest.approx(differs(saved(photo(), "JPEG", **options), photo()))


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_whose_pixels_are_cut_off_is_refused(share: float, options: dict[str, Any]) -> None:
    """The control: only decoding shows whether pixels or just the end mark are missing."""
    data = saved(photo(256, 192), "JPEG", quality=90, **options)
    with pytest.raises(UndecodableImage, match=r"truncated|cut off"):
        decode(data[: int(share * len(data))], LIMITS)


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "eXIf", "pHYs", "tIME"])
def test_a_wrong_checksum_outside_the_pixels_is_no_fault(kind: str) -> None:
    whole = saved(photo(), "PNG")
    body = kind.encode() + b"hello"
    chunk = struct.pack(">I", 5) + body + struct.pack(">I", zlib.crc32(body) ^ 1)
    data = whole[:33] + chunk + whole[33:]
    assert differs(data, photo()) == 0
    assert probe(data, LIMITS).format == "PNG"


def test_a_wrong_checksum_of_pixels_is_a_fault() -> None:
    data = bytearray(saved(photo(), "PNG"))
    data[data.find(b"IDAT") + 20] ^= 1
    with pytest.raises(UndecodableImage):
        decode(bytes(data), LIMITS)


@pytest.mark.parametrize("cut", [12, 8, 4])
def test_a_png_without_its_end_is_whole_if_its_pixels_are(cut: int) -> None:
    data = saved(photo(), "PNG")
    assert differs(data[:-cut], photo()) == 0
    with pytest.raises(UndecodableImage):
        decode(data[:-40], LIMITS)


@pytest.mark.parametrize("method", ["add_itxt", "add_text"])
def test_large_metadata_is_no_pixel(method: str) -> None:
    """Case 17."""
    info = PngImagePlugin.PngInfo()
    getattr(info, method)("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
    assert differs(saved(photo(), "PNG", pnginfo=info), photo()) == 0


def test_the_still_picture_of_an_animation_that_does_not_show_it() -> None:
    """Case 27."""
    black = Image.new("RGB", (96, 64))
    shown = saved(
        black, "PNG", save_all=True, append_images=[photo(), black], default_image=True, duration=100
    )
    assert differs(shown, photo()) == 0
    plain = saved(photo(), "PNG", save_all=True, append_images=[black], duration=100)
    assert differs(plain, photo()) == 0


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_a_picture_that_is_transparent_all_over_is_shown(format: str) -> None:
    clear = photo().convert("RGBA")
    clear.putalpha(0)
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    assert differs(saved(clear, format, **options), photo()) == 0


def test_a_picture_that_is_transparent_in_parts_is_on_white() -> None:
    part = photo().convert("RGBA")
    ImageDraw.Draw(part).rectangle((0, 0, 40, 63), fill=(9, 9, 9, 0))
    assert (decode(saved(part, "PNG"), LIMITS)[10, 10] == 255).all()


def linear_profile(name: str) -> bytes:
    """Return the profile of sRGB with its curves replaced by a straight line, under a name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    for n in range(count):
        tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * n)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">4sIHHi", profile, offset, b"para", 0, 0, 0, 1 << 16)
            struct.pack_into(">I", profile, 132 + 12 * n + 8, 16)
    return bytes(profile)


def test_a_linear_profile_called_srgb_is_applied() -> None:
    grey = Image.new("RGB", (32, 32), (55, 55, 55))
    assert decode(saved(grey, "PNG"), LIMITS)[5, 5].tolist() == [55, 55, 55]
    shown = decode(saved(grey, "PNG", icc_profile=linear_profile("sRGB")), LIMITS)[5, 5]
    assert abs(int(shown[0]) - 128) < 3, "a linear 0.216 is a middle grey"


def test_a_profile_of_srgb_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert differs(saved(photo(), "PNG", icc_profile=profile), photo()) == 0


@pytest.mark.parametrize("size", [(40, 4000), (4000, 40), (16, 8000), (17, 1300)])
def test_a_long_thin_photo_can_be_searched(size: tuple[int, int]) -> None:
    """Case 28."""
    thin = Image.linear_gradient("L").resize(size).convert("RGB")
    found = normalise(saved(thin, "PNG"), LIMITS, 1280, 500_000)
    assert min(found.width, found.height) >= 16
    assert max(found.width, found.height) == 1280
    assert decode(found.jpeg, LIMITS).shape[2] == 3
