"""Packing an import: what goes into the zip file, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.commands.import_ import start
from cli.pack import find_manifest_file, packed_import
from shared.contracts import ImportOptions
from shared.errors import InvalidInput, InvalidManifest
from shared.imports.kinds import LEFT_OUT, UPLOADS, media_type
from shared.imports.left_out import read_left_out
from shared.imports.manifest import read_rows
from tests.packing import opened, tar


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def write_shop(folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    for name in ("a", "b", "unused"):
        (folder / "pictures" / f"{name}.jpg").write_bytes(name.encode() * 1000)
    rows = [
        {"product_id": "1", "images": ["pictures/a.jpg", "pictures/b.jpg"]},
        {"product_id": "2", "images": ["pictures/./a.jpg", "pictures/missing.jpg"]},
        {"product_id": "3", "images": ["../outside.jpg"]},
    ]
    (folder.parent / "outside.jpg").write_bytes(b"not ours to send")
    manifest = folder / "list.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


@pytest.mark.parametrize("name", [".", "list.jsonl"])
def test_manifest_and_the_images_it_names_are_stored_once_and_nothing_else(tmp_path: Path, name: str) -> None:
    shop = tmp_path / "shop"
    write_shop(shop)
    with packed_import(shop / name, quiet) as archive, zipfile.ZipFile(archive) as found:
        assert sorted(found.namelist()) == [LEFT_OUT, "list.jsonl", "pictures/a.jpg", "pictures/b.jpg"]
        left = read_left_out(io.BytesIO(found.read(LEFT_OUT)))
        assert "no file" in left["pictures/missing.jpg"].message
        assert "leads out" in left["../outside.jpg"].message
        assert found.read("pictures/b.jpg") == b"b" * 1000
        assert {member.compress_type for member in found.infolist()} == {zipfile.ZIP_STORED}
        assert [row.product_id for row in read_rows(opened(archive.read_bytes()))] == ["1", "2", "3"]
    assert not archive.exists()


def test_folder_of_images_is_packed_with_every_image(tmp_path: Path) -> None:
    (tmp_path / "lamp").mkdir()
    for name in ("chair.jpg", "lamp/1.png", "lamp/2.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    with packed_import(tmp_path, quiet) as archive, zipfile.ZipFile(archive) as found:
        assert sorted(found.namelist()) == [LEFT_OUT, "chair.jpg", "lamp/1.png", "lamp/2.png"]
        assert list(read_left_out(io.BytesIO(found.read(LEFT_OUT)))) == ["notes.txt"]


@pytest.mark.parametrize("name", ["shop.ZIP", "shop.tar", "shop.tar.gz", "shop.tgz", "shop.tar.zst"])
def test_an_archive_is_sent_as_it_is(tmp_path: Path, name: str) -> None:
    given = tmp_path / name
    if name == "shop.ZIP":
        with zipfile.ZipFile(given, "w") as file:
            file.writestr("a.jpg", b"x")
    else:
        given.write_bytes(tar({"a.jpg": b"x"}, "gz" if "gz" in name else ""))
    with packed_import(given, quiet) as archive:
        assert archive == given
    assert given.exists()
    assert media_type(name) in UPLOADS


def test_images_by_address_stay_addresses(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    manifest = tmp_path / "list.csv"
    manifest.write_text("product_id,images\n1,a.jpg|https://shop.example/b.jpg|s3://goods/c.jpg\n")
    with packed_import(manifest, quiet) as archive, zipfile.ZipFile(archive) as found:
        assert sorted(found.namelist()) == ["a.jpg", "list.csv"]


def test_a_parquet_manifest_is_packed_with_its_images(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    manifest = tmp_path / "list.parquet"
    pq.write_table(pa.table({"product_id": ["1"], "image": ["a.jpg"]}), manifest)
    with packed_import(manifest, quiet) as archive, zipfile.ZipFile(archive) as found:
        assert sorted(found.namelist()) == ["a.jpg", "list.parquet"]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("nothing", None, InvalidInput),
        ("shop.zip", b"PK\x03\x04 cut off", InvalidInput),
        ("shop.tar.gz", b"\x1f\x8b cut off", InvalidInput),
        ("shop.tar.zst", b"", InvalidInput),
        ("shop.parquet", b"PAR1 cut off", InvalidManifest),
        ("shop.xlsx", b"something", InvalidInput),
        ("shop.csv", b"name,price\nlamp,3\n", InvalidManifest),
        ("shop.jsonl", b"\xff\xfe\x00", InvalidManifest),
    ],
)
def test_what_is_no_import_is_refused_before_anything_is_sent(
    tmp_path: Path, name: str, content: bytes | None, error: type[Exception]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error), packed_import(path, quiet):
        pass


@pytest.mark.parametrize(
    "source", ["s3://goods/winter", "https://shop.example/a.csv", "http://shop.example/a.csv"]
)
def test_an_address_is_sent_for_the_server_to_read(source: str) -> None:
    class Server:
        def import_on_server(self, *asked: object) -> object:
            return asked

    options = ImportOptions()
    asked = start(cast(Any, Server()), source, "shop", cast(Any, None), options)
    assert cast(Any, asked) == (source, "shop", options)


def test_without_pictures_the_manifest_goes_alone(tmp_path: Path) -> None:
    manifest = tmp_path / "goods" / "products.csv"
    manifest.parent.mkdir()
    manifest.write_text("product_id,title\na,A\n")
    assert find_manifest_file(manifest) == find_manifest_file(manifest.parent) == manifest
    zipped = tmp_path / "goods.zip"
    zipped.write_bytes(b"PK")
    assert find_manifest_file(zipped) == zipped
    manifest.unlink()
    with pytest.raises(InvalidInput, match="no manifest"):
        find_manifest_file(manifest.parent)
