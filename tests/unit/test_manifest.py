"""Manifests: what is read, what is refused, and what never leaves the import's folder (B14, B17, B26)."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from shared.errors import ImageMissing, InvalidManifest
from shared.import_sources import ArchiveSource, FolderSource
from shared.manifest import Row, read_rows
from tests.packing import archive


def rows_of(text: str | bytes, name: str = "manifest.csv") -> list[Row]:
    return list(read_rows(ArchiveSource(io.BytesIO(archive({name: text})))))


def test_csv_with_every_column() -> None:
    text = (
        "product_id,title_de,title_pt_BR,title,category,category_de,price,currency,url,tags,images,colour\n"
        'p1,Stuhl,Cadeira,Chair,Seats,Sitze,"19.90",EUR,https://shop.example/p1,wood|oak,a.jpg|b.jpg,red\n'
    )
    (row,) = rows_of(text)
    assert row.problem is None
    assert row.product is not None
    assert row.product.titles == {"en": "Chair", "de": "Stuhl", "pt_BR": "Cadeira"}
    assert row.product.categories == {"de": "Sitze"}
    assert str(row.product.price) == "19.90"
    assert row.product.tags == ["wood", "oak"]
    assert row.product.attributes == {"colour": "red"}
    assert row.images == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_spreadsheets_differ_and_mean_the_same(delimiter: str, newline: str, mark: str) -> None:
    lines = [delimiter.join(cells) for cells in (("product_id", "images"), ("p1", "a.jpg"), ("p2", "b.jpg"))]
    rows = rows_of((mark + newline.join(lines)).encode())
    assert [(r.product_id, r.images) for r in rows] == [("p1", ["a.jpg"]), ("p2", ["b.jpg"])]


def test_json_lines_keep_the_good_rows_and_number_the_bad() -> None:
    lines = [
        json.dumps({"product_id": "p1", "image": "a.jpg", "price": 12.5, "size_cm": [1, 2]}),
        "{not json",
        "",
        "[1, 2]",
        json.dumps({"product_id": "p2", "images": [{"x": 1}]}),
        json.dumps({"product_id": "p3", "images": ["a.jpg"], "price": -1}),
        json.dumps({"product_id": "p4", "images": ["a.jpg"], "price": "NaN"}),
        "[" * 100_000,
        json.dumps({"product_id": 5, "images": ["a.jpg"]}),
    ]
    rows = rows_of("\n".join(lines), "products.jsonl")
    assert [(r.number, r.product_id, r.problem[0] if r.problem else None) for r in rows] == [
        (1, "p1", None),
        (2, None, "invalid_row"),
        (4, None, "invalid_row"),
        (5, "p2", "invalid_row"),
        (6, "p3", "invalid_price"),
        (7, "p4", "invalid_price"),
        (8, None, "invalid_row"),
        (9, "5", None),
    ]
    assert rows[0].product is not None
    assert str(rows[0].product.price) == "12.5"
    assert rows[0].product.attributes == {"size_cm": [1, 2]}


def test_rows_with_too_many_cells_or_a_hostile_id() -> None:
    rows = rows_of("product_id,images\np1,a.jpg,b.jpg\n../../etc,a.jpg\n=cmd(),a.jpg\np4,a.jpg\n")
    assert [r.problem[0] if r.problem else None for r in rows] == [
        "invalid_row",
        "invalid_product_id",
        "invalid_product_id",
        None,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name,price\nx,1\n",
        ",".join(f"c{n}" for n in range(1000)),
        'product_id,images\n"never closed',
        "product_id,images\np1," + "x" * 200_000,
        b"product_id,images\np1,\xff\xfe.jpg\n",
    ],
)
def test_a_csv_that_cannot_be_read_says_so(text: str | bytes) -> None:
    with pytest.raises(InvalidManifest):
        rows_of(text)


def test_a_plain_folder_is_a_catalogue(tmp_path: Path) -> None:
    for name in ("red chair.jpg", "lamp/1.png", "lamp/2.png", "notes.txt", ".hidden.jpg", "__MACOSX/x.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    rows = {r.product_id: r for r in read_rows(FolderSource(tmp_path))}
    assert rows.keys() == {"red_chair", "lamp"}
    assert rows["lamp"].images == ["lamp/1.png", "lamp/2.png"]
    chair = rows["red_chair"].product
    assert chair is not None
    assert chair.titles == {"en": "red chair"}


def test_an_empty_folder_and_two_manifests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="no images"):
        list(read_rows(FolderSource(tmp_path)))
    (tmp_path / "a.csv").write_text("product_id,images\n")
    (tmp_path / "b.csv").write_text("product_id,images\n")
    with pytest.raises(InvalidManifest, match="Which is the manifest"):
        list(read_rows(FolderSource(tmp_path)))
    (tmp_path / "products.csv").write_text("product_id,images\np1,a.jpg\n")
    assert [r.product_id for r in read_rows(FolderSource(tmp_path))] == ["p1"]


def test_nothing_outside_of_the_folder_is_opened(tmp_path: Path) -> None:
    inside, outside = tmp_path / "shop", tmp_path / "shop-private"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(b"secret")
    (inside / "link.jpg").symlink_to(outside / "secret.jpg")
    (inside / "loop.jpg").symlink_to(inside / "loop.jpg")
    (inside / "folder.jpg").mkdir()
    os.mkfifo(inside / "pipe.jpg")
    (inside / "good.jpg").write_bytes(b"good")
    source = FolderSource(inside)
    names = ["../shop-private/secret.jpg", str(outside / "secret.jpg"), "link.jpg", "loop.jpg", "folder.jpg"]
    for name in [*names, "pipe.jpg", "/dev/zero", "good.jpg\0", "..\\x.jpg", "x" * 300, "gone.jpg"]:
        with pytest.raises(ImageMissing):
            source.open(name)
    assert source.open("good.jpg").read() == b"good"


def test_archives_that_are_traps_are_refused() -> None:
    with pytest.raises(InvalidManifest):
        ArchiveSource(io.BytesIO(b"no zip file"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.jpg", bytes(50_000_000))
        file.writestr("../escape.jpg", b"x")
        file.writestr("good.jpg", b"good")
    source = ArchiveSource(packed)
    with pytest.raises(ImageMissing, match="not allowed"):
        source.open("bomb.jpg")
    with pytest.raises(ImageMissing):
        source.open("escape.jpg")
    assert source.open("good.jpg").read() == b"good"
