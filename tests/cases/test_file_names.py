"""Names of files match the manifest in any spelling: Unicode forms, code pages, slashes (cases 11, 13)."""

from __future__ import annotations

import io
import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import pytest

from shared.errors import InvalidManifest
from shared.imports.manifest import read_rows
from shared.imports.sources import FolderSource
from tests.cases.folders import sent, write
from tests.packing import archive, opened

Form = Literal["NFC", "NFD"]


@pytest.mark.parametrize("of_manifest", ["NFC", "NFD"])
@pytest.mark.parametrize("of_file", ["NFC", "NFD"])
def test_names_match_across_unicode_forms(tmp_path: Path, of_manifest: Form, of_file: Form) -> None:
    """Case 11, of folders and archives."""
    written, named = (unicodedata.normalize(form, "bilder ä/stühle é.jpg") for form in (of_file, of_manifest))
    write(tmp_path, {written: b"x", "products.csv": f"product_id,images\na-1,{named}\n"})
    zipped = opened(archive({written: b"x", "products.csv": f"product_id,images\na-1,{named}\n"}))
    with sent(tmp_path) as packed:
        for source in (FolderSource(tmp_path), zipped, packed):
            ((name,),) = [row.images for row in read_rows(source)]
            with source.open(name) as file:
                assert file.read() == b"x"


def raw_zip(members: list[tuple[bytes, bytes]], flags: int = 0) -> bytes:
    """Return a zip whose names are these bytes, not marked as UTF-8."""
    data = directory = b""
    for name, content in members:
        crc, at = zlib.crc32(content), len(data)
        head = struct.pack(
            "<HHHHHIIIHH", 20, flags, 0, 0, 0x21, crc, len(content), len(content), len(name), 0
        )
        data += b"PK\3\4" + head + name + content
        head = struct.pack(
            "<HHHHHHIIIHH",
            (3 << 8) | 21,
            20,
            flags,
            0,
            0,
            0x21,
            crc,
            len(content),
            len(content),
            len(name),
            0,
        )
        directory += b"PK\1\2" + head + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, at) + name
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(data), 0)
    return data + directory + b"PK\5\6" + end


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "stühle für €.jpg"),
        ("cp437", "stühle é.jpg"),
        ("cp850", "stühle Ø.jpg"),
        ("cp1252", "stühle é ñ.jpg"),
        ("cp932", "椅子.jpg"),
        ("cp1251", "стул.jpg"),
        ("cp866", "стул.jpg"),
        ("cp936", "椅子.jpg"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_zips_without_a_mark_match_the_manifest(encoding: str, name: str, form: Form) -> None:
    """Case 11."""
    # Code pages have no marks of their own: there is one form of a name.
    form = form if encoding == "utf-8" else "NFC"
    raw = unicodedata.normalize(form, f"shop/bilder/{name}").encode(encoding)
    manifest = f"product_id,images\na-1,bilder/{name}\n".encode()
    source = opened(raw_zip([(b"shop/products.csv", manifest), (raw, b"x")]))
    ((found,),) = [row.images for row in read_rows(source)]
    assert source.open(found).read() == b"x"


@pytest.mark.parametrize("encoding", ["utf-8", "cp437", "cp1252"])
def test_products_of_zips_without_a_mark_have_their_names(encoding: str) -> None:
    source = opened(raw_zip([("Stühle.jpg".encode(encoding), b"x")]))
    (row,) = read_rows(source)
    assert row.product_id == "Stühle"


def test_backslashes_of_a_zip_are_slashes() -> None:
    """Case 13."""
    manifest = b"product_id,title,images\na-1,A,images/a.jpg\n"
    source = opened(raw_zip([(b"shop\\products.csv", manifest), (b"shop\\images\\a.jpg", b"x")]))
    (row,) = read_rows(source)
    assert source.open(row.images[0]).read() == b"x"
    (row,) = read_rows(opened(raw_zip([(b"lamp\\front.jpg", b"x"), (b"lamp\\side.jpg", b"y")])))
    assert (row.product_id, row.images) == ("lamp", ["lamp/front.jpg", "lamp/side.jpg"])
    with pytest.raises(InvalidManifest, match="leads out"):
        opened(raw_zip([(b"..\\..\\etc\\passwd", b"x")]))


def test_a_manifest_may_write_backslashes(tmp_path: Path) -> None:
    write(tmp_path, {"images/a.jpg": b"x", "products.csv": "product_id,images\na-1,images\\a.jpg\n"})
    with sent(tmp_path) as packed:
        for source in (FolderSource(tmp_path), packed):
            ((name,),) = [row.images for row in read_rows(source)]
            with source.open(name) as file:
                assert file.read() == b"x"


def test_a_unicode_field_names_a_member() -> None:
    """Info-ZIP writes the name again, in UTF-8, in a field of its own."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        member = zipfile.ZipInfo("stuhle.jpg")
        name = "stühle.jpg".encode()
        field = b"\1" + struct.pack("<I", zlib.crc32(b"stuhle.jpg")) + name
        member.extra = struct.pack("<HH", 0x7075, len(field)) + field
        file.writestr(member, b"x")
    assert opened(packed.getvalue()).open("stühle.jpg").read() == b"x"
