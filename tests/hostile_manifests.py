"""Manifests and archives made to be expensive, twenty and more of each kind; see ``tests.hostile``.

``MANIFESTS`` maps a kind to its files by name; they are made on demand.
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

from tests import builders
from tests.hostile import Files, mutations


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
    packed: list[int] = []
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


MANIFESTS: dict[str, Callable[[], Files]] = {
    "csv": cache(csvs),
    "jsonl": cache(jsonls),
    "parquet": cache(parquets),
    "zip": cache(zips),
    "tar": cache(tars),
}
