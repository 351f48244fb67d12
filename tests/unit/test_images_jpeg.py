"""A JPEG that can stay as it is keeps its pixels and loses all else; every other one is written anew."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.images import ImageLimits, decode, normalise
from shared.images import jpeg as plain_jpeg
from tests import builders

LIMITS = ImageLimits()
SECRET = b"where I live"


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
    "options",
    [
        {},
        {"subsampling": 0},
        {"progressive": True},
        {"optimize": True, "quality": 100},
        {"restart_marker_blocks": 2},
        {"comment": SECRET},
        {"exif": exif(1)},
        {"dpi": (300, 300)},
    ],
    ids=str,
)
def test_a_plain_jpeg_keeps_its_pixels_and_loses_the_rest(options: dict[str, Any]) -> None:
    data = written(**options) + SECRET
    found = normalise(data, LIMITS)
    assert len(found.jpeg) < len(data)
    assert SECRET not in found.jpeg
    assert np.array_equal(decode(found.jpeg, LIMITS), decode(data, LIMITS))
    assert (found.width, found.height, found.source_format) == (96, 96, "JPEG")
    with Image.open(io.BytesIO(found.jpeg)) as picture:
        assert not picture.getexif()
        assert not {"comment", "exif", "icc_profile"} & set(picture.info)


@pytest.mark.parametrize(
    ("data", "side_px"),
    [
        pytest.param(written(), 64, id="too large"),
        pytest.param(written(exif=exif(6)), 1280, id="turned"),
        pytest.param(
            written(icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
            1280,
            id="with a profile",
        ),
        pytest.param(written("L"), 1280, id="grey"),
        pytest.param(written("CMYK"), 1280, id="for print"),
        pytest.param(written(keep_rgb=True), 1280, id="of red, green and blue"),
    ],
)
def test_another_jpeg_is_written_anew(data: bytes, side_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = normalise(data, LIMITS, side_px)
    assert SECRET not in found.jpeg
    with Image.open(io.BytesIO(found.jpeg)) as picture:
        assert max(picture.size) <= side_px
        assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    monkeypatch.setattr(plain_jpeg, "stripped", lambda _: None)
    assert normalise(data, LIMITS, side_px) == found


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: d.replace(b"\xff\xc0", b"\xff\xc9", 1), id="arithmetic coding"),
        pytest.param(lambda d: d[:2] + b"\xff\xdc\x00\x04\x00\x00" + d[2:], id="a part that few files have"),
        pytest.param(lambda d: d[: d.index(b"\xff\xda")] + b"\xff\xd9", id="no scan"),
        pytest.param(lambda d: d[:-2], id="cut off"),
        pytest.param(lambda d: d[: d.index(b"\xff\xc4") + 2] + b"\xff\xff", id="a length over the end"),
    ],
)
def test_a_file_that_is_built_otherwise_is_left_to_the_decoder(change: Any) -> None:
    data = written()
    assert plain_jpeg.stripped(data) is not None
    assert plain_jpeg.stripped(change(data)) is None
