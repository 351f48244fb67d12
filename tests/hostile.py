"""Files made to be expensive, twenty and more of each format: bombs, lies, loops, floods, cuts.

Every file is made from seeds and arithmetic, the same bytes each time. ``PICTURES`` maps a format
to its files by name; they are made on demand. Manifests and archives are in ``tests.hostile_manifests``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from shared.images import CATALOGUE_FORMATS
from tests import builders

Files = dict[str, bytes]
MEGAPIXEL = 1_000_000


def flat(side_px: int, format: str, mode: str = "RGB", **options: Any) -> bytes:
    """Return a picture of one colour: the smallest file of its size."""
    return builders.encoded(Image.new(mode, (side_px, side_px)), format, **options)


def mutations(data: bytes) -> Files:
    """Return what can be done to any file: cut, overwritten, flipped, with megabytes after its end."""
    files: Files = {
        f"cut at {share:.0%}": builders.cut(data, share) for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
    }
    third = len(data) // 3
    files["zeros in the middle"] = data[:third] + bytes(third) + data[2 * third :]
    files["ones in the middle"] = data[:third] + b"\xff" * third + data[2 * third :]
    files["ten megabytes of zeros after it"] = data + bytes(10_000_000)
    files["itself five times"] = data * 5
    for seed in range(4):
        random = np.random.default_rng(seed)
        array = np.frombuffer(data, np.uint8).copy()
        at = random.integers(min(12, len(array) - 1), len(array), max(1, len(array) // 200))
        array[at] = random.integers(0, 256, len(at), np.uint8)
        files[f"flipped bytes {seed}"] = array.tobytes()
    return files


def jpegs() -> Files:
    small = builders.jpeg(1, 256, 256)
    end, start = small.rindex(b"\xff\xd9"), small.index(b"\xff\xda")
    frame = small.index(b"\xff\xc0") + 5
    progressive = builders.encoded(builders.picture(1, 256, 256), progressive=True)
    frame2 = progressive.index(b"\xff\xc2") + 5

    def sized(data: bytes, at: int, height: int, width: int) -> bytes:
        return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]

    tables = (b"\xff\xdb\x00\x43\x03" + bytes([1]) * 64) * 4_000
    return mutations(small) | {
        "150 kB of fill in the scan": small[:end] + b"\xff" * 150_000 + b"\0" + small[end:],
        "ten megabytes of fill in the scan": small[:end] + b"\xff" * 10_000_000 + b"\0" + small[end:],
        "fill in many short runs": small[:end] + (b"\xff" * 60 + b"\0") * 100_000 + small[end:],
        "a megabyte of fill before a marker": small[:2] + b"\xff" * MEGAPIXEL + small[2:],
        "states 65,500 squared": sized(small, frame, 65_500, 65_500),
        "states 7,000 squared": sized(small, frame, 7_000, 7_000),
        "progressive, states 16,000 squared": sized(progressive, frame2, 16_000, 16_000),
        "progressive, states 4,000 squared": sized(progressive, frame2, 4_000, 4_000),
        "60 passes": builders.jpeg_of_many_scans(60),
        "50 passes of 16 megapixels": sized(
            builders.jpeg_of_many_scans(49),
            builders.jpeg_of_many_scans(49).index(b"\xff\xc2") + 5,
            4_000,
            4_000,
        ),
        "100,000 segments": builders.jpeg_of_many_segments(100_000),
        "4,000 tables": small[:start] + tables + small[start:],
        "16 megabytes of comments": small[:2] + (b"\xff\xfe\xff\xff" + bytes(65_533)) * 240 + small[2:],
        "no end": small[:end],
        "49 megapixels of grey": flat(7_000, "JPEG", "L", quality=10),
    }


def pngs() -> Files:
    def text(size: int) -> bytes:
        return builders.png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(size), 9))

    profile = builders.png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80_000_000), 1))
    row = bytes(4_001)
    large = bytes((4_000 * 8 + 1) * 4_000)
    frames = [builders.picture(n, 64, 64) for n in range(100)]
    return mutations(builders.encoded(builders.picture(1, 256, 256), "PNG")) | {
        "144 megapixels of one bit": builders.png_bomb(12_000),
        "400 megapixels of one bit": builders.png_bomb(20_000),
        "49 megapixels": builders.png(7_000, 7_000, bytes(7_001 * 7_000)),
        "states more rows than it has": builders.lying_png(3_900, 3_900),
        "has more rows than it states": builders.png(64, 64, bytes(30_000_000)),
        "16 megapixels of 64 bits": builders.png(4_000, 4_000, large, bits=16, colour=6),
        "16 megapixels of grey": builders.png(4_000, 4_000, row * 4_000),
        "16 megapixels of 16-bit grey": builders.png(4_000, 4_000, bytes(8_001 * 4_000), bits=16),
        "50 MB of text": builders.png(64, 64, bytes(65 * 64), extra=text(50_000_000)),
        "fifty texts": builders.png(64, 64, bytes(65 * 64), extra=text(1_000_000) * 50),
        "a profile of 80 MB": builders.png(64, 64, bytes(65 * 64), extra=profile),
        "60,000 chunks": builders.png(
            64, 64, bytes(65 * 64), extra=builders.png_chunk(b"abCd", b"") * 60_000
        ),
        "100 frames": builders.animation("PNG", frames),
    }


def webps() -> Files:
    frames = [builders.picture(n, 64, 64) for n in range(100)]
    sound = builders.encoded(builders.picture(1, 256, 256), "WEBP")
    inner = flat(4_000, "WEBP", lossless=True)[12:]
    lying = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (63).to_bytes(3, "little") * 2 + inner
    return mutations(sound) | {
        "states 16,383 squared": builders.webp_header(16_383, 16_383),
        "25 megapixels": flat(5_000, "WEBP", lossless=True, method=0),
        "16 megapixels without loss": flat(4_000, "WEBP", lossless=True),
        "16 megapixels with alpha": flat(4_000, "WEBP", "RGBA", lossless=True),
        "16 megapixels with loss": flat(4_000, "WEBP", method=0),
        "canvas of 64 squared, picture of 4,000": b"RIFF"
        + struct.pack("<I", len(lying) + 4)
        + b"WEBP"
        + lying,
        "100 frames": builders.animation("WEBP", frames),
    }


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def of_boxes(sound: bytes, brand: bytes) -> Files:
    """Return what is hostile to the container that AVIF and HEIC share."""
    head = box(b"ftyp", brand + bytes(4) + b"mif1" + brand)
    deep = b""
    for _ in range(2_000):
        deep = box(b"meta", bytes(4) + deep)
    wide = box(b"meta", bytes(4) + box(b"free", b"") * 200_000)
    extents = struct.pack(">HHHH", 1, 0, 0, 65_535) + struct.pack(">II", 0, 0xFFFFFF) * 65_535
    flood = box(b"meta", bytes(4) + box(b"iloc", bytes(4) + b"\x44\x00" + extents))
    ispe = sound.index(b"ispe") + 8
    return mutations(sound) | {
        "boxes in boxes": head + deep,
        "200,000 boxes": head + wide,
        "65,535 extents over each other": head + flood,
        "a box of size 0 in a loop": head + bytes(4) + b"meta" + bytes(4) + sound,
        "a box of 2^62 bytes": head + struct.pack(">I", 1) + b"meta" + struct.pack(">Q", 2**62),
        "states 16,000 squared": sound[:ispe] + struct.pack(">II", 16_000, 16_000) + sound[ispe + 8 :],
        "states 2^31 squared": sound[:ispe] + struct.pack(">II", 2**31, 2**31) + sound[ispe + 8 :],
        "states 64 squared": sound[:ispe] + struct.pack(">II", 64, 64) + sound[ispe + 8 :],
    }


def lying_avif(side_px: int, said_px: int = 512) -> bytes:
    """Return an AVIF whose frame has ``side_px`` squared while the container says ``said_px``."""
    data = flat(side_px, "AVIF", speed=10, quality=1)
    return data.replace(struct.pack(">II", side_px, side_px), struct.pack(">II", said_px, said_px))


def avifs() -> Files:
    frames = [builders.picture(n, 64, 64) for n in range(10)]
    return of_boxes(builders.encoded(builders.picture(1, 256, 256), "AVIF"), b"avif") | {
        "frame of 18 megapixels, said to be 512 squared": lying_avif(4_300),
        "frame of 4 megapixels, said to be 64 squared": lying_avif(2_000, 64),
        "10 frames": builders.animation("AVIF", frames),
    }


def heics() -> Files:
    sound = builders.encoded(builders.picture(1, 256, 256), "HEIF")
    large = flat(1_024, "HEIF", quality=1)
    said = struct.pack(">II", 1_024, 1_024)
    return of_boxes(sound, b"heic") | {
        "a megapixel, said to be 64 squared": large.replace(said, struct.pack(">II", 64, 64)),
        "a megapixel": large,
    }


def gifs() -> Files:
    sound = builders.encoded(Image.fromarray(builders.picture(1, 256, 256)).convert("P"), "GIF")
    frames = [builders.picture(n, 64, 64) for n in range(100)]
    table = 13 + 768
    return mutations(sound) | {
        "a screen of 65,535 squared": sound[:6] + b"\xff\xff\xff\xff" + sound[10:],
        "49 megapixels": flat(7_000, "GIF", "P"),
        "16 megapixels": flat(4_000, "GIF", "P"),
        "100,000 comments": builders.gif_of_many_comments(100_000),
        "100 frames": builders.animation("GIF", frames),
        "a comment of 15 MB": sound[:table]
        + b"!\xfe"
        + (b"\xff" + bytes(255)) * 60_000
        + b"\0"
        + sound[table:],
        "a frame outside of the screen": sound.replace(b",\0\0\0\0", b",\xff\xff\xff\xff", 1),
    }


def bmps() -> Files:
    sound = builders.encoded(builders.picture(1, 64, 64), "BMP")

    def header(width: int, height: int, bits: int = 24, colours: int = 0, packing: int = 0) -> bytes:
        fields = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, 0, 0, 0, colours, 0)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + fields

    return mutations(sound) | {
        "65,000 squared": header(65_000, 65_000) + bytes(1_000),
        "upside down, 2^31": header(64, -(2**31)) + bytes(1_000),
        "no rows": header(4_000, 4_000) + bytes(1_000),
        "2^32 colours": header(64, 64, 8, 2**32 - 1) + bytes(10_000),
        "run lengths": header(4_000, 4_000, 8, 256, 1) + bytes(100_000),
        "bit fields": header(64, 64, 32, 0, 3) + bytes(64 * 64 * 4),
        "16 megapixels of one bit": header(4_000, 4_000, 1, 2) + bytes(8 + 500 * 4_000),
        "3 bits": header(64, 64, 3) + bytes(10_000),
    }


def tiffs() -> Files:
    sound = builders.encoded(builders.picture(1, 64, 64), "TIFF")

    def directory(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
        packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)

    def tiff(entries: list[tuple[int, int, int, int]], following: int = 0, rest: bytes = b"") -> bytes:
        return b"II*\0\x08\0\0\0" + directory(entries, following) + rest

    def plain(side_px: int) -> list[tuple[int, int, int, int]]:
        return [(256, 4, 1, side_px), (257, 4, 1, side_px), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
                (273, 4, 1, 200), (277, 3, 1, 1), (278, 4, 1, side_px), (279, 4, 1, side_px**2)]  # fmt: skip

    return mutations(sound) | {
        "49 megapixels, deflated": flat(7_000, "TIFF", "L", compression="tiff_deflate"),
        "100 megapixels, LZW": flat(10_000, "TIFF", "1", compression="tiff_lzw"),
        "a directory that leads to itself": tiff(plain(64), 8, bytes(10_000)),
        "states 60,000 squared": tiff(plain(60_000), 0, bytes(10_000)),
        "2^32 strips": tiff([*plain(64)[:5], (273, 4, 2**32 - 1, 8), *plain(64)[6:]], 0, bytes(10_000)),
        "2^28 samples": tiff([*plain(64)[:2], (258, 3, 2**28, 8), *plain(64)[3:]], 0, bytes(10_000)),
        "65,535 tags": tiff([(700, 1, 2**24, 8)] * 65_535, 0, bytes(1_000)),
        "floats": builders.encoded(np.full((2_000, 2_000), 0.5, np.float32), "TIFF"),
        "a tag of 16 MB": tiff([*plain(64), (34_675, 7, 16_000_000, 200)], 0, bytes(16_001_000)),
    }


PICTURES: dict[str, Callable[[], Files]] = {
    "JPEG": cache(jpegs),
    "PNG": cache(pngs),
    "WEBP": cache(webps),
    "AVIF": cache(avifs),
    "HEIF": cache(heics),
    "GIF": cache(gifs),
    "BMP": cache(bmps),
    "TIFF": cache(tiffs),
}
assert set(PICTURES) == CATALOGUE_FORMATS
