"""What is kept of a photo: pixels alone, encoded again whatever was sent, and never more than a megabyte."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.images import ImageLimits, decode, normalise
from tests import builders

LIMITS = ImageLimits()
SECRET = b"where I live"
DQT = b"\xff\xdb\x00\x43\x03" + (SECRET + bytes(64))[:64]


def written(mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(builders.picture(3, 96, 96)).convert(mode)
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = orientation, SECRET.decode()
    return tags.tobytes()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(written(), id="plain"),
        pytest.param(written(subsampling=0, quality=100), id="best quality"),
        pytest.param(written(progressive=True), id="progressive"),
        pytest.param(written(comment=SECRET), id="with a comment"),
        pytest.param(written(exif=exif(1)), id="with EXIF"),
        pytest.param(written(exif=exif(6)), id="turned"),
        pytest.param(written(exif=exif(1)) + SECRET, id="with a trailer"),
        pytest.param(written()[:2] + DQT + written()[2:], id="with a table that nothing uses"),
        pytest.param(
            written(icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
            id="with a profile",
        ),
        pytest.param(written("L"), id="grey"),
        pytest.param(written("CMYK"), id="for print"),
    ],
)
def test_every_jpeg_is_encoded_again(data: bytes) -> None:
    found = normalise(data, LIMITS)
    assert SECRET not in found.jpeg
    with Image.open(io.BytesIO(found.jpeg)) as picture:
        assert not picture.getexif()
        assert not {"comment", "exif", "icc_profile"} & set(picture.info)
        assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
        assert len(picture.quantization) == 2  # type: ignore[attr-defined]
    assert builders.near(decode(found.jpeg, LIMITS), decode(data, LIMITS), 40)


@pytest.mark.parametrize("max_bytes", [1_000_000, 50_000])
def test_noise_is_made_to_fit(max_bytes: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1280, 1280, 3), np.uint8)
    data = builders.encoded(noise, quality=100)
    assert len(data) > 2_000_000
    found = normalise(data, LIMITS, max_bytes=max_bytes)
    assert len(found.jpeg) <= max_bytes
    assert decode(found.jpeg, LIMITS).shape == (found.height, found.width, 3)


@pytest.mark.parametrize("size", [(40, 4000), (4000, 40), (16_000, 16), (16, 1400)], ids=str)
def test_a_long_thin_photo_keeps_what_a_search_needs(size: tuple[int, int]) -> None:
    data = builders.encoded(builders.picture(width=size[0], height=size[1]), "PNG")
    found = normalise(data, LIMITS)
    assert min(found.width, found.height) == 16
    assert normalise(builders.encoded(builders.picture(width=16, height=1280), "PNG"), LIMITS).width == 16
