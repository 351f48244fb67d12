"""Seeded pictures, and files with everything that can be wrong with one; the same bytes every time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import shared.images  # noqa: F401  makes HEIF known to Pillow, which saves it here

Pixels = NDArray[np.uint8]

#: Display P3, as phones use it: colourants adapted to D50, one row each for red, green and blue.
P3_TO_XYZ = np.array([[0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407]])
PROFILE_GAMMA = 2.19921875


def picture(seed: int = 0, width: int = 96, height: int = 64, blocks: int = 8) -> Pixels:
    """Return ``(height, width, 3) uint8`` of coloured blocks, no two corners alike."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (blocks, blocks, 3), dtype=np.uint8)
    rows = np.arange(height) * blocks // height
    columns = np.arange(width) * blocks // width
    return coarse[rows][:, columns]


def gradient(width: int = 96, height: int = 64) -> Pixels:
    """Return a smooth ``(height, width, 3) uint8`` picture, which survives lossy formats."""
    x = np.linspace(30, 220, width)[None, :].repeat(height, 0)
    y = np.linspace(40, 200, height)[:, None].repeat(width, 1)
    return np.rint(np.stack([x, y, (x + y) / 2], axis=-1)).astype(np.uint8)


def encoded(pixels: NDArray[Any] | Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """Return a file of ``format`` (Pillow's name); a JPEG at quality 95 in 4:4:4 unless told."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if format == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    if format in ("HEIF", "AVIF"):
        options = {"quality": 95, **options}
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def jpeg(seed: int = 0, width: int = 96, height: int = 64) -> bytes:
    return encoded(picture(seed, width, height))


def oriented(pixels: Pixels, orientation: int, format: str = "PNG") -> bytes:
    """Return a file that shows ``pixels`` once its EXIF ``orientation`` (1 to 8) is applied."""
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(np.ascontiguousarray(stored), format, exif=exif.tobytes())


def animation(format: str, frames: Sequence[Pixels]) -> bytes:
    """Return an animated GIF, WEBP, PNG or AVIF."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if format == "WEBP" else {}
    return encoded(first, format, save_all=True, append_images=rest, duration=40, **options)


def p3_profile() -> bytes:
    """Return an ICC profile of Display P3's primaries with a plain power curve."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 8) + b"P3 test\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + b"".join(map(fixed, (0.9642, 1.0, 0.8249))),
        **{
            name: b"XYZ \0\0\0\0" + b"".join(map(fixed, row))
            for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), P3_TO_XYZ, strict=True)
        },
        **{
            name: b"curv\0\0\0\0" + struct.pack(">IH", 1, round(PROFILE_GAMMA * 256)) + b"\0\0"
            for name in (b"rTRC", b"gTRC", b"bTRC")
        },
    }
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s", at + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(map(fixed, (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


# Bad input, by row of the matrix in the reliability notes.

NOT_PICTURES: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"\xff",
    "text": b"This is my shopping list: a chair, a table and a lamp.",
    "html": b"<!DOCTYPE html><html><body><img src=x onerror=alert(1)></body></html>",
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n",
    "pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n",
    "zip": b"PK\x03\x04\x14\0\0\0\0\0" + bytes(60),
    "psd": b"8BPS\0\1" + bytes(60),
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "video": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(60),
    "noise": np.random.default_rng(7).bytes(512),
}


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, rows: bytes, bits: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    """Return a PNG whose header may lie about ``rows``, the filtered scan lines before compression."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows, 9))
        + png_chunk(b"IEND", b"")
    )


def png_bomb(side_px: int) -> bytes:
    """Return a tiny PNG of ``side_px`` squared black pixels, one bit each."""
    return png(side_px, side_px, bytes((side_px // 8 + 1) * side_px), bits=1)


def lying_png(width: int = 5_000, height: int = 5_000) -> bytes:
    """Return a PNG whose header promises far more rows than there are."""
    return png(width, height, bytes(1_000))


def bad_checksum_png(seed: int = 0) -> bytes:
    """Return a PNG whose picture data has a wrong checksum and is otherwise sound."""
    data = bytearray(encoded(picture(seed), "PNG"))
    at = data.index(b"IDAT")
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    data[end] ^= 0xFF
    return bytes(data)


def cut(data: bytes, share: float) -> bytes:
    """Return the first ``share`` (0 to 1) of a file."""
    return data[: int(len(data) * share)]


def webp_header(width: int, height: int) -> bytes:
    """Return an extended WebP header that announces a canvas and holds no picture."""
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sizes
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_of_many_scans(scans: int, width: int = 2_000, height: int = 2_000) -> bytes:
    """Return a small progressive JPEG whose last pass is repeated: each costs a pass over all pixels."""
    data = encoded(Image.new("L", (width, height), 128), progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


def jpeg_of_many_segments(segments: int) -> bytes:
    data = jpeg()
    return data[:2] + b"\xff\xfe\0\2" * segments + data[2:]


def gif_of_many_comments(comments: int) -> bytes:
    data = encoded(Image.new("P", (32, 32)), "GIF")
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return data[:at] + b"!\xfe\1a\0" * comments + data[at:]


def polyglot(payload: bytes = b"<script>alert('vitrine')</script>") -> bytes:
    """Return a sound JPEG with ``payload`` in its EXIF, its comment and after its end, and with GPS."""
    exif = Image.Exif()
    exif[0x010E] = payload.decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    return encoded(picture(3), exif=exif, comment=payload) + payload + b"PK\x03\x04" + payload


def float_tiff(pixels: Pixels, scale: float) -> bytes:
    """Return a float TIFF of the first channel, where 255 is stored as ``scale``."""
    return encoded((pixels[..., 0] / 255 * scale).astype(np.float32), "TIFF")


def near(found: np.ndarray, wanted: np.ndarray, tolerance: int = 3) -> bool:
    """Tell whether two pictures have the same shape and differ nowhere by more than ``tolerance``."""
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    return int(np.abs(found.astype(int) - wanted.astype(int)).max()) <= tolerance
