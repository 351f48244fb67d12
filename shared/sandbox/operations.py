"""Operations of a sandbox child on pictures. Runs in the child only, and imports all decoders."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import io
from typing import Final, Literal, cast

import numpy as np
from PIL import AvifImagePlugin, Image, ImageCms

from shared.images import ImageLimits, decode, normalise, probe, rendition
from shared.images.decoding import CATALOGUE_FORMATS, decodable_formats
from shared.sandbox.child import Operation
from shared.sandbox.protocol import Body, Head

Answer = tuple[Head, bytes | Body]


def _limits(head: Head) -> ImageLimits:
    given = dict(head["limits"])
    return ImageLimits(**{**given, "formats": frozenset(given["formats"])})


def _probe(head: Head, data: bytes) -> Answer:
    return {"info": dataclasses.asdict(probe(data, _limits(head)))}, b""


def _decode(head: Head, data: bytes) -> Answer:
    pixels = decode(data, _limits(head), head["min_side_needed_px"])
    return {"shape": pixels.shape}, pixels.reshape(-1)


def _normalise(head: Head, data: bytes) -> Answer:
    found = normalise(data, _limits(head), head["max_side_px"], head["max_bytes"])
    size = {"width": found.width, "height": found.height, "source_format": found.source_format}
    return size, found.jpeg


def _rendition(head: Head, data: bytes) -> Answer:
    format = cast(Literal["WEBP", "JPEG"], head["format"])
    return {}, rendition(data, _limits(head), head["max_side_px"], format)


OPERATIONS: Final[dict[str, Operation]] = {
    "probe": _probe,
    "decode": _decode,
    "normalise": _normalise,
    "rendition": _rendition,
}


#: Files of 16 by 16 pixels, stored because the encoders of these formats are slow to load.
_SMALL_FILES: Final = {
    "AVIF": (
        "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAA"
        "AAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAIgAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEA"
        "AGF2MDFDb2xvcgAAAABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAEAAAABAAAAAQcGl4aQAAAAADCAgIAAAADGF2MUOBAAwA"
        "AAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAAKm1kYXQSAAoJGAz/2iAhoNCAMhMZR4eGIYeeeeaA"
        "AAB1hk3a5lKf"
    ),
    "HEIF": (
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
        "ACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAACsAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
        "AAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
        "AAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNs"
        "eAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAEAAAAAEAAAAQAAAAAf///9AAAAAC////0AAAAAIAAAAQcGl4"
        "aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAM21kYXQAAAAnKAGvEyExlvhOUKf//WeFzQyVTFq5T6Vz3QpQk3J+"
        "uP7yh5PFYoLg"
    ),
}


def warm_up() -> None:
    """Use every decoder once, so that no request loads code or opens a file."""
    # One thread per decoder makes memory and processor time independent of the machine.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    if "HEIF" in decodable_formats():
        importlib.import_module("pillow_heif").options.DECODE_THREADS = 1
    limits = ImageLimits(formats=CATALOGUE_FORMATS)
    for format in sorted(decodable_formats() & CATALOGUE_FORMATS):
        data = base64.b64decode(_SMALL_FILES[format]) if format in _SMALL_FILES else _small_file(format)
        decode(data, limits)
        rendition(data, limits, 16)


def _small_file(format: str) -> bytes:
    """Return a file of 16 by 16 pixels, rotated and with a profile if the format supports it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {} if format in ("BMP", "GIF") else {"icc_profile": profile, "exif": exif.tobytes()}
    file = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(file, format, **options)
    return file.getvalue()
