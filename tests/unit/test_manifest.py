"""Manifests as text and as folders: what is read, what is told as wrong, and what is refused (B17)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from shared.errors import InvalidManifest
from shared.imports.manifest import Row, find_manifest, read_rows
from shared.imports.sources import FolderSource
from tests.packing import archive, opened


def rows_of(text: str | bytes, name: str = "manifest.csv") -> list[Row]:
    return list(read_rows(opened(archive({name: text}))))


def reasons(rows: list[Row]) -> list[str | None]:
    return [row.problem[0] if row.problem else None for row in rows]


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
    rows = rows_of("product_id,images\np1,a.jpg,b.jpg\n../../etc,a.jpg\na\0b,a.jpg\np4,a.jpg\n")
    assert reasons(rows) == ["invalid_row", "invalid_product_id", "invalid_row", None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name,price\nx,1\n",
        ",".join(f"c{n}" for n in range(1000)),
        "product_id," + "c" * 2_000_000,
        '"product_id"x,images\n',
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
    assert rows.keys() == {"red_chair", "lamp", None}
    assert (rows[None].file, rows[None].problem and rows[None].problem[0]) == (
        "notes.txt",
        "unsupported_format",
    )
    assert rows["lamp"].images == ["lamp/1.png", "lamp/2.png"]
    chair = rows["red_chair"].product
    assert chair is not None
    assert chair.titles == {"en": "red chair"}


def test_two_folders_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    """The second is a row of its own, which the plan lists as a duplicate."""
    for name in ("men/shoes/1.jpg", "women/shoes/2.jpg", "shoes.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    rows = [(r.number, r.product_id, r.images) for r in read_rows(FolderSource(tmp_path))]
    assert rows == [
        (1, "shoes", ["men/shoes/1.jpg"]),
        (2, "shoes", ["shoes.jpg"]),
        (3, "shoes", ["women/shoes/2.jpg"]),
    ]


def test_an_empty_folder_and_two_manifests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="no images"):
        list(read_rows(FolderSource(tmp_path)))
    (tmp_path / "a.csv").write_text("product_id,images\n")
    (tmp_path / "b.csv").write_text("product_id,images\n")
    with pytest.raises(InvalidManifest, match="Which is the manifest"):
        list(read_rows(FolderSource(tmp_path)))
    (tmp_path / "products.csv").write_text("product_id,images\np1,a.jpg\n")
    assert [r.product_id for r in read_rows(FolderSource(tmp_path))] == ["p1"]


def test_what_lies_below_the_manifest_is_not_searched_for_others(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "products.csv").write_text("product_id,images\nold,a.jpg\n")
    (tmp_path / "list.csv").write_text("product_id,images\nnew,a.jpg\n")
    assert find_manifest(FolderSource(tmp_path)) == "list.csv"
    (tmp_path / "list.csv").unlink()
    assert find_manifest(FolderSource(tmp_path)) == "old/products.csv"
    assert [r.images for r in read_rows(FolderSource(tmp_path))] == [["old/a.jpg"]]


def test_a_hostile_csv_lists_its_bad_rows_and_keeps_the_good() -> None:
    """Row B17, all in one file: each bad row stands between two good ones."""
    bad = [
        "many," + "," * 1_000_000,
        "long," + "x" * 200_000,
        "longer," + "x" * 3_000_000,
        'quoted,"' + "x" * 3_000_000 + '"',
        "nul\0,a.jpg",
        "nul-image,a\0.jpg",
        "../../etc/passwd,a.jpg",
        '"stray" quote,a.jpg',
        "three,a.jpg,b.jpg",
    ]
    lines = ["product_id,images"]
    for number, line in enumerate(bad):
        lines += [f"good-{number},a.jpg", line]
    lines += ["..,a.jpg", "good-last,a.jpg"]
    rows = rows_of("\ufeff" + "\n".join(lines))
    good = [row.product_id for row in rows if row.problem is None]
    assert good == [f"good-{n}" for n in range(len(bad))] + ["good-last"]
    assert [row.number for row in rows if row.problem is not None] == [*range(3, 21, 2), 20]
    assert set(reasons(rows)) == {None, "invalid_row", "invalid_product_id"}


def test_the_control_of_the_hostile_csv_loses_the_good_rows_after_a_bad_one() -> None:
    """Python's reader, let loose on the file as it is, ends at the first bad row."""
    text = "product_id,images\ngood-0,a.jpg\nlong," + "x" * 200_000 + "\ngood-1,a.jpg\n"
    reader, read = csv.reader(text.splitlines()), list[str]()
    with pytest.raises(csv.Error):
        read.extend(row[0] for row in reader)
    assert read == ["product_id", "good-0"]


def test_each_line_may_end_in_its_own_way() -> None:
    text = 'product_id,images\r\np1,a.jpg\rp2,b.jpg\np3,"c\r\nd.jpg"\r\n\n\r\np4,d.jpg'
    rows = rows_of(text.encode())
    assert [(r.number, r.product_id, r.images) for r in rows] == [
        (2, "p1", ["a.jpg"]),
        (3, "p2", ["b.jpg"]),
        (5, "p3", ["c\r\nd.jpg"]),
        (8, "p4", ["d.jpg"]),
    ]


def test_a_quote_that_is_never_closed_costs_what_it_swallowed() -> None:
    rows = rows_of('product_id,images\np1,a.jpg\np2,"b.jpg\np3,c.jpg\n')
    assert [(r.product_id, bool(r.problem)) for r in rows] == [("p1", False), (None, True)]


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_a_line_that_is_not_utf8_is_one_bad_line(name: str) -> None:
    if name.endswith("csv"):
        lines = [b"product_id,images", b"p1,a.jpg", b"p2,gr\xf6sse.jpg", "p3,größe.jpg".encode()]
    else:
        lines = [
            json.dumps({"product_id": "p1", "image": "a.jpg"}).encode(),
            b'{"product_id": "p2", "image": "gr\xf6sse.jpg"}',
            '{"product_id": "p3", "image": "größe.jpg"}'.encode(),
        ]
    rows = rows_of(b"\n".join(lines), name)
    assert reasons(rows) == [None, "invalid_row", None]
    assert "not UTF-8" in (rows[1].problem or ("", ""))[1]
    assert rows[2].images == ["größe.jpg"]


@pytest.mark.parametrize(
    "line",
    [
        '{"product_id": "x", "image": "a.jpg", "weight": NaN}',
        '{"product_id": "x", "image": "a.jpg", "weight": -Infinity}',
        '{"product_id": "x", "image": "a.jpg", "title": "a\\u0000b"}',
        '{"product_id": "x", "image": "a.jpg", "note": {"deep": ["\\ud800"]}}',
        '{"product_id": "x", "image": "a.jpg", "n": ' + "[" * 20 + "]" * 20 + "}",
        '{"product_id": "x", "image": "a.jpg", "n": ' + "9" * 5000 + "}",
        '{"product_id": "x", "image": "a.jpg", "n": "' + "x" * 1_000_000 + '"}',
    ],
)
def test_a_row_that_no_database_keeps_is_told(line: str) -> None:
    rows = rows_of(f'{line}\n{{"product_id": "good", "image": "a.jpg"}}\n', "products.jsonl")
    assert reasons(rows) == ["invalid_row", None]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("p.jsonl", '{"product_id": "x", "image": "a.jpg", "attributes": "red", "colour": "blue"}'),
        ("p.jsonl", '{"product_id": "x", "image": "a.jpg", "titles": "Stuhl", "title": "Chair"}'),
        ("p.csv", "product_id,image,attributes,colour\nx,a.jpg,red,blue"),
        ("p.csv", "product_id,image,titles,title_de\nx,a.jpg,Chair,Stuhl"),
        ("p.csv", "product_id,image,categories,category_de\nx,a.jpg,Chairs,Stühle"),
    ],
)
def test_a_text_where_an_object_belongs_is_one_bad_row(name: str, bad: str) -> None:
    """Also beside what is merged with it: this once ended the whole import."""
    good = "good,a.jpg,,\n" if name.endswith("csv") else '{"product_id": "good", "image": "a.jpg"}\n'
    rows = rows_of(f"{bad}\n{good}", name)
    assert [(r.product_id, r.problem and r.problem[0]) for r in rows] == [
        ("x", "invalid_row"),
        ("good", None),
    ]
    assert "valid dictionary" in (rows[0].problem or ("", ""))[1]


def test_titles_by_column_and_as_an_object_are_one() -> None:
    (row,) = rows_of(
        json.dumps({"product_id": "x", "image": "a", "title": "Chair", "titles": {"de": "Stuhl"}}), "p.jsonl"
    )
    assert row.product is not None
    assert row.product.titles == {"en": "Chair", "de": "Stuhl"}


def test_a_column_that_is_there_twice_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidManifest, match="`price` twice"):
        rows_of("product_id,images,price,price\np1,a.jpg,1,2\n")
    assert [r.product_id for r in rows_of("product_id,images,,\np1,a.jpg,,\n")] == ["p1"]


def test_a_product_id_may_have_become_a_number() -> None:
    rows = rows_of('{"product_id": 5.0, "image": "a.jpg"}\n{"product_id": 7, "image": "a"}', "p.jsonl")
    assert [r.product_id for r in rows] == ["5", "7"]


def test_addresses_are_not_relative_to_the_manifest() -> None:
    text = "product_id,images\np1,a.jpg|https://shop.example/b.jpg|s3://goods/c.jpg\n"
    (row,) = read_rows(opened(archive({"shop/manifest.csv": text})))
    assert row.images == ["shop/a.jpg", "https://shop.example/b.jpg", "s3://goods/c.jpg"]


def test_what_only_looks_unstorable_is_kept() -> None:
    (row,) = rows_of(
        json.dumps({"product_id": "x", "image": "a.jpg", "note": "a\\u0000b", "lists": [[]] * 40}), "p.jsonl"
    )
    assert row.product is not None
    assert row.product.attributes == {"note": "a\\u0000b", "lists": [[]] * 40}
