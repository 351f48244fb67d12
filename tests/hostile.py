"""Files made to be expensive, twenty and more of each format: bombs, lies, loops, floods, cuts.

Every file is made from seeds and arithmetic, the same bytes each time. ``PICTURES`` and ``MANIFESTS`` map a
format to its files by name; they are made when they are asked for.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
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


def csvs() -> Files:
    head = b"product_id,title,image\n"
    sound = head + b"".join(b"p%d,Chair %d,%d.jpg\n" % (n, n, n) for n in range(200))
    return mutations(sound) | {
        "a cell of 50 MB": head + b"p1," + b"x" * 50_000_000 + b",a.jpg\n",
        "a quote that never ends": head + b'p1,"' + b"x,\n" * 100_000,
        "100,000 columns": b",".join(b"c%d" % n for n in range(100_000)) + b"\n",
        "100,000 cells in a row": head + b"p1" + b",x" * 100_000 + b"\n",
        "a line of commas": head + b"," * 5_000_000 + b"\n",
        "quotes": head + b'"' * 2_000_001 + b"\n",
        "zeros": head + bytes(5_000_000),
    }


def jsonls() -> Files:
    sound = b"".join(b'{"product_id": "p%d", "image": "%d.jpg"}\n' % (n, n) for n in range(200))
    return mutations(sound) | {
        "100,000 arrays in arrays": b"[" * 100_000 + b"]" * 100_000 + b"\n",
        "100,000 objects in objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n",
        "a number of 900,000 digits": b'{"product_id": ' + b"9" * 900_000 + b"}\n",
        "80,000 names": json.dumps({f"k{n}": n for n in range(80_000)}).encode() + b"\n",
        "a line of 50 MB": b'{"product_id": "' + b"x" * 50_000_000 + b'"}\n',
        "1e400": b'{"product_id": "p", "price": 1e400}\n',
        "half a character": b'{"product_id": "\\ud800"}\n' * 1_000,
    }


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue()


@cache
def repeated(value_bytes: int, rows: int) -> bytes:
    """Return a Parquet file that holds one value once and states it for every row."""
    notes = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), ["x" * value_bytes])
    return parquet({"product_id": [f"p{n}" for n in range(rows)], "note": notes}, compression="zstd",
                   dictionary_pagesize_limit=2**30)  # fmt: skip


#: What ``pq.write_table`` makes of {"product_id": ["p1"], "title": ["A" * 250_000_000]} with zstd. To make it
#: takes 2 GB of memory, which the test process would keep.
_ONE_VALUE_OF_250_MB = (
    "c-rlmzi-n}5Xa9?u2m`vrInuLCs`;G)asD_a8V<ux|~Z&D_UAxR0WpGq#;dJh;dTVY#A8%0}vA<e*sc=W?<kCU_cBE49r~+y!V`@"
    "K@~g0J?Z0jzIXS%v)_1I7zf<sHovmY8HWjgsgv1XMJoVc0FVY8_yoUJl7|Iuamy>i6iWkFGCmId=u2yPG&2kaQtjo3lb;6v)ESoS"
    "t-g5o{qmuF>B$`pIQ@O|Gh<Ldf*=TjAP9mW2!bF8f*=TjAP9mW2;%?Y>Z=jFI4S<ed{`_kfNQm?`?V(tH-X!e%pFU!=H5}Yz1!HE"
    "gmq5_YxhXI(LSv8Jq{C|DEZ)VTP%Q85W`vAc9?VQyfOUHAN_kuElS*!&B@XrTVt@~n8FgiZfRI8FQ$cls0p_7{@8!r_1_xmQ!a}1"
    "RLnrg`SwwzFn`qf(goqUHpcPh&SL(V?pI@0tum?=VZQDlb}+2t3Su3X>)IEFh#SgSMqJa5^Br?DxAgPwffT(Vjmk<zJGDp!2Wwk7"
    "=aTzz>!GT;aZklZ7)DC}HewZT^~DBB(ROrJ>AY3U`&$jWkLKgx!S(oYvJ>g^vs7@4X_7rVs<o%9X*!)`S+i4oUdvjI=F{SQd1h`V"
    "5G8qy>LyM3$F?vI{s1)s0_F"
)


def one_value_of_250_mb() -> bytes:
    """Return a Parquet file of 8 kB whose only title has 250 MB."""
    return zlib.decompress(base64.b85decode(_ONE_VALUE_OF_250_MB))


def lying_parquet() -> bytes:
    """Return a Parquet file with a value of 250 MB of which its footer says that it has a thousand bytes."""
    data = one_value_of_250_mb()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    size = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(1).total_uncompressed_size
    # As a zigzag varint; the lie has the same length, so that nothing moves.
    said = varint(2 * size)
    lie = varint(2_000, len(said))
    assert said in data[footer:]
    return data[:footer] + data[footer:].replace(said, lie)


def varint(number: int, length: int = 0) -> bytes:
    packed = []
    while number >= 0x80 or len(packed) + 1 < length:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*packed, number])


def parquets() -> Files:
    ids = [f"p{n}" for n in range(2_000)]
    sound = parquet({"product_id": ids, "image": ids})
    return mutations(sound) | {
        "a value of 250 MB": one_value_of_250_mb(),
        "a value of 250 MB, its size a lie": lying_parquet(),
        "a value of 20 MB in 10,000 rows": repeated(20_000_000, 10_000),
        "a value of 10 MB in 100,000 rows": repeated(10_000_000, 100_000),
        "a value of 900 kB in 100,000 rows": repeated(900_000, 100_000),
        "a footer of 2 GB": sound[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1",
    }


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file.getvalue()


def zips() -> Files:
    sound = archive({"products.csv": b"product_id,image\np1,a.jpg\n", "a.jpg": builders.jpeg()})
    directory = sound.index(b"PK\x01\x02")
    entry = sound[directory : sound.index(b"PK\x01\x02", directory + 4)]
    end = sound[sound.index(b"PK\x05\x06") :]
    count = 600_000
    many = entry * count
    stated = end[:8] + struct.pack("<HHII", 65_535, 65_535, len(many), directory) + end[20:]
    return mutations(sound) | {
        "a gigabyte of zeros": archive({"products.csv": bytes(30_000_000)}),
        "600,000 members": sound[:directory] + many + stated,
        "leads out": archive({"../products.csv": b"product_id\n"}),
        "an archive in an archive": archive({"a.zip": sound, "products.csv": b"product_id\n"}),
        "a name of 65,535": archive({"x" * 65_535: b"", "products.csv": b"product_id\n"}),
        "a comment": sound[:-2] + b"\xff\xff" + bytes(65_535),
    }


def tars() -> Files:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as packed:
        for name, content in {
            "products.csv": b"product_id,image\np1,a.jpg\n",
            "a.jpg": builders.jpeg(),
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    sound = file.getvalue()

    def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, size, link
        return info.tobuf(tarfile.GNU_FORMAT)

    pax = member("x", b"x", 30_000_000) + b"9 a=bcd\n" * 3_750_000
    return mutations(sound) | {
        "a link": member("a", tarfile.SYMTYPE, 0, "/etc/passwd") + sound,
        "a device": member("a", tarfile.CHRTYPE) + sound,
        "8 TB": member("products.csv", size=8 * 2**40) + sound,
        "a pax header of 30 MB": pax + sound,
        "20,000 members": b"".join(member(f"{n}.jpg") for n in range(20_000)) + sound,
        "leads out": member("../products.csv") + sound,
        "gzip of zeros": gzip.compress(bytes(50_000_000)),
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
MANIFESTS: dict[str, Callable[[], Files]] = {
    "csv": cache(csvs),
    "jsonl": cache(jsonls),
    "parquet": cache(parquets),
    "zip": cache(zips),
    "tar": cache(tars),
}
assert set(PICTURES) == CATALOGUE_FORMATS
