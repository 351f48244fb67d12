"""Archives: what is read out of them, and the traps that are refused (row B26)."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import tracemalloc
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import ImageMissing, InvalidManifest
from shared.imports.archives import Caps, index_archive
from shared.imports.manifest import read_rows
from shared.imports.unpacking import unpacked
from tests.packing import archive, opened, tar

MANY = 1_000_000
GOOD: dict[str, bytes | str] = {
    "products.csv": "product_id,images\np1,pictures/a.jpg\n",
    "pictures/a.jpg": b"a picture",
}


def zip_of_one(name: str = "a.jpg", data: bytes = b"x", **fields: int) -> bytes:
    packed = io.BytesIO()
    member = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(member, data)
    return packed.getvalue()


def tar_of_one(name: str = "a.jpg", **fields: object) -> bytes:
    packed = io.BytesIO()
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    with tarfile.open(fileobj=packed, mode="w") as file:
        file.addfile(member)
    return packed.getvalue()


def zip_of_many(count: int) -> bytes:
    """A zip file whose table of contents names one member again and again, made without zipfile."""
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
    table = (entry + b"00000000") * count
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(table), 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(table), 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return table + end64 + locator + end


def read_all(data: bytes, ending: str) -> None:
    if ending in ("zip", "tar"):
        index_archive(io.BytesIO(data), ending, Caps())
    else:
        list(unpacked(io.BytesIO(data), ending, 10**9, 100))


@pytest.mark.parametrize(("ending", "packed"), [("zip", archive(GOOD)), ("tar", tar(GOOD))])
def test_members_are_found_by_their_names(ending: str, packed: bytes) -> None:
    source = opened(packed, ending)
    assert list(source.names()) == ["products.csv", "pictures/a.jpg"]
    assert [row.images for row in read_rows(source)] == [["pictures/a.jpg"]]
    for name in ("pictures/a.jpg", "./pictures/a.jpg", "pictures//a.jpg"):
        assert source.open(name).read() == b"a picture"
    for name in ("pictures/b.jpg", "../a.jpg", "/pictures/a.jpg", "", "."):
        with pytest.raises(ImageMissing):
            source.open(name)


def test_members_whose_names_begin_with_a_dot_and_a_slash_are_the_same() -> None:
    source = opened(tar({f"./{name}": data for name, data in GOOD.items()}), "tar")
    assert source.open("pictures/a.jpg").read() == b"a picture"


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz", "tzst"])
@pytest.mark.parametrize("data", [b"\0", b"no archive at all", b"PK\x03\x04" + bytes(600), b"\x1f\x8b\x08"])
def test_what_is_no_archive_is_said(ending: str, data: bytes) -> None:
    with pytest.raises(InvalidManifest, match="pack it again"):
        read_all(data, ending)


@pytest.mark.parametrize("name", ["../escape.jpg", "a/../../b.jpg", "/etc/passwd", "a/.."])
def test_a_member_that_leads_out_is_refused(name: str) -> None:
    with pytest.raises(InvalidManifest, match="leads out of it"):
        opened(zip_of_one(name))
    with pytest.raises(InvalidManifest, match="leads out of it"):
        opened(tar_of_one(name), "tar")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes) -> None:
    with pytest.raises(InvalidManifest, match="link or a device"):
        opened(tar_of_one("a.jpg", type=kind, linkname="/etc/passwd"), "tar")


def test_a_link_in_a_zip_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="link or a device"):
        opened(zip_of_one("a.jpg", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16))


def test_a_zip_with_a_password_or_an_odd_method_is_told() -> None:
    packed = bytearray(zip_of_one("a.jpg"))
    flags = packed.index(b"PK\x01\x02") + 8
    packed[flags] |= 1
    with pytest.raises(InvalidManifest, match="password"):
        opened(bytes(packed))
    with pytest.raises(ImageMissing, match="use deflate"):
        opened(zip_of_one("a.jpg", compress_type=zipfile.ZIP_LZMA)).open("a.jpg")


def test_a_damaged_member_is_a_missing_image_and_the_others_are_read() -> None:
    whole = archive({"a.jpg": b"a picture", "b.jpg": b"b picture"})
    source = opened(whole.replace(b"a picture", b"a pIcture", 1))
    with pytest.raises(ImageMissing, match="cannot be unpacked"):
        source.open("a.jpg").read()
    assert source.open("b.jpg").read() == b"b picture"
    cut = bytearray(whole)
    cut[:4] = b"xxxx"
    with pytest.raises(ImageMissing, match="damaged"):
        opened(bytes(cut)).open("a.jpg")


def test_a_zip_bomb_is_refused_by_the_sum_of_what_it_unpacks_to() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for n in range(4):
            file.writestr(f"{n}.jpg", bytes(20_000_000))
    with pytest.raises(InvalidManifest, match="100 times its size"):
        opened(packed.getvalue())
    # The control: without the cap it would be read.
    allowed = opened(packed.getvalue(), caps=Caps(ratio=10_000))
    assert len(allowed.open("0.jpg").read()) == 20_000_000


def test_one_member_that_is_too_large_for_an_image_is_not_opened() -> None:
    packed = archive({"a.jpg": bytes(3_000), "b.jpg": bytes(100), "products.csv": bytes(3_000)})
    source = opened(packed, caps=Caps(image_bytes=1_000))
    with pytest.raises(ImageMissing, match="over the limit for images"):
        source.open("a.jpg")
    assert len(source.open("b.jpg").read()) == 100
    assert len(source.open("products.csv").read()) == 3_000


def test_a_packed_parquet_is_unpacked_to_disk_up_to_a_cap() -> None:
    """It is read from its end; a zip file of megabytes may hold one of gigabytes."""
    file = io.BytesIO()
    pq.write_table(pa.table({"product_id": ["p1"], "image": ["a.jpg"], "pad": ["x" * 50_000]}), file)
    packed = archive({"products.parquet": file.getvalue(), "a.jpg": b"x"}, zipfile.ZIP_DEFLATED)
    size = len(file.getvalue())
    assert [row.product_id for row in read_rows(opened(packed, caps=Caps(parquet_bytes=size)))] == ["p1"]
    with pytest.raises(InvalidManifest, match="without compression"):
        list(read_rows(opened(packed, caps=Caps(parquet_bytes=size - 1))))
    stored = archive({"products.parquet": file.getvalue(), "a.jpg": b"x"})
    assert [row.product_id for row in read_rows(opened(stored, caps=Caps(parquet_bytes=1)))] == ["p1"]


def test_a_million_members_are_refused_before_they_are_held_in_memory() -> None:
    packed = zip_of_many(MANY)
    assert len(zipfile.ZipFile(io.BytesIO(zip_of_many(10))).infolist()) == 10
    tracemalloc.start()
    with pytest.raises(InvalidManifest, match="split it"):
        opened(packed)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < Caps().directory_bytes + 10_000_000


@pytest.mark.parametrize(("ending", "packer"), [("zip", archive), ("tar", tar)])
def test_more_members_than_the_cap_are_refused(ending: str, packer: object) -> None:
    packed = packer({f"{n}.jpg": b"" for n in range(11)})  # type: ignore[operator]
    assert len(list(opened(packed, ending, Caps(members=11)).names())) == 11
    with pytest.raises(InvalidManifest, match="over 10 files"):
        opened(packed, ending, Caps(members=10))


def test_a_tar_header_that_claims_gigabytes_is_refused() -> None:
    """A long-name header says how long it is, and would be read whole."""
    long = tar_of_one("a" * 5_000)
    assert list(opened(long, "tar").names()) == ["a" * 5_000]
    with pytest.raises(InvalidManifest, match="too long"):
        opened(long, "tar", Caps(directory_bytes=2_000))


@pytest.mark.parametrize("ending", ["tgz", "tzst"])
def test_a_compressed_tar_is_unpacked_piece_by_piece(ending: str) -> None:
    plain = tar({"a.jpg": bytes(range(256)) * 20_000})
    packed = gzip.compress(plain) if ending == "tgz" else pa.compress(plain, "zstd", asbytes=True)
    pieces = list(unpacked(io.BytesIO(packed), ending, len(plain), 100))
    assert b"".join(pieces) == plain
    assert max(map(len, pieces)) <= 1 << 20
    with pytest.raises(InvalidManifest, match="unpacks to over"):
        list(unpacked(io.BytesIO(packed), ending, len(plain) - 1, 100))
    with pytest.raises(InvalidManifest, match="pack it again"):
        list(unpacked(io.BytesIO(packed[: len(packed) // 2]), ending, len(plain), 100))


@pytest.mark.parametrize("ending", ["tgz", "tzst"])
def test_a_tar_bomb_ends_at_the_ratio(ending: str) -> None:
    """A gigabyte of zeros in a megabyte: what came out before it was refused is what the disk had to hold."""
    zeros = bytes(1 << 20)
    if ending == "tgz":
        packed = gzip.compress(zeros) * 1024
    else:
        packed = pa.compress(zeros, "zstd", asbytes=True) * 1024
    came: list[int] = []
    with pytest.raises(InvalidManifest, match="100 times its size"):
        came.extend(map(len, unpacked(io.BytesIO(packed), ending, 10**10, 100)))
    assert 0 < sum(came) < 200_000_000
    # The control: with a ratio that allows it, all of it comes out.
    control = packed[: len(packed) // 4]
    assert sum(map(len, unpacked(io.BytesIO(control), ending, 10**10, 100_000))) == 256 * len(zeros)
