"""Packing an import: what goes into the zip file, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from cli.pack import packed
from shared.errors import InvalidInput, InvalidManifest
from shared.import_sources import ArchiveSource
from shared.manifest import read_rows


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
    with packed(shop / name, quiet) as archive, zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == ["list.jsonl", "pictures/a.jpg", "pictures/b.jpg"]
        assert opened.read("pictures/b.jpg") == b"b" * 1000
        assert {member.compress_type for member in opened.infolist()} == {zipfile.ZIP_STORED}
        with archive.open("rb") as file:
            assert [row.product_id for row in read_rows(ArchiveSource(file))] == ["1", "2", "3"]
    assert not archive.exists()


def test_folder_of_images_is_packed_with_every_image(tmp_path: Path) -> None:
    (tmp_path / "lamp").mkdir()
    for name in ("chair.jpg", "lamp/1.png", "lamp/2.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    with packed(tmp_path, quiet) as archive, zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == ["chair.jpg", "lamp/1.png", "lamp/2.png"]


def test_zip_file_is_sent_as_it_is(tmp_path: Path) -> None:
    given = tmp_path / "shop.ZIP"
    with zipfile.ZipFile(given, "w") as file:
        file.writestr("a.jpg", b"x")
    with packed(given, quiet) as archive:
        assert archive == given
    assert given.exists()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("nothing", None, InvalidInput),
        ("shop.zip", b"PK\x03\x04 cut off", InvalidInput),
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
    with pytest.raises(error), packed(path, quiet):
        pass
