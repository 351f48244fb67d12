"""Parquet manifests: nested and flat columns, what pandas writes, and rows that cannot be converted."""

from __future__ import annotations

import datetime
import decimal
import io
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import InvalidManifest, Misconfigured
from shared.imports import arrow
from shared.imports.manifest import Row, read_rows
from shared.imports.sources import FolderSource, ManifestAlone
from tests.packing import archive, opened

pytestmark = pytest.mark.slow

TITLES = {"en": "Armchair", "de": "Sessel"}


def parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def rows_of(columns: dict[str, Any], **options: Any) -> list[Row]:
    data = parquet(pa.table(columns), **options)
    return list(read_rows(ManifestAlone("manifest.parquet", lambda: io.BytesIO(data))))


@pytest.mark.parametrize(
    "kind",
    [pa.struct([("en", pa.string()), ("de", pa.string())]), pa.map_(pa.string(), pa.string())],
)
def test_nested_columns(kind: pa.DataType) -> None:
    titles: list[Any] = [TITLES, {"en": "Lamp"}]
    if pa.types.is_map(kind):
        titles = [list(t.items()) for t in titles]
    chair, lamp = rows_of(
        {
            "product_id": ["chair-1", "lamp-1"],
            "titles": pa.array(titles, kind),
            "price": pa.array([decimal.Decimal("249.00"), None], pa.decimal128(14, 4)),
            "tags": pa.array([["oak", None, "seat"], None], pa.list_(pa.string())),
            "images": pa.array([["a.jpg", "b.jpg"], ["c.jpg"]], pa.list_(pa.string())),
            "attributes": [{"legs": 4, "soft": True}, {"legs": None, "soft": None}],
        }
    )
    assert chair.problem is lamp.problem is None
    assert chair.product is not None
    assert lamp.product is not None
    assert chair.product.titles == TITLES
    assert lamp.product.titles == {"en": "Lamp"}
    assert chair.product.price == decimal.Decimal("249")
    assert lamp.product.price is None
    assert (chair.product.tags, lamp.product.tags) == (["oak", "seat"], [])
    assert (chair.images, lamp.images) == (["a.jpg", "b.jpg"], ["c.jpg"])
    assert chair.product.attributes == {"legs": 4, "soft": True}


def test_flat_columns() -> None:
    (row,) = rows_of(
        {
            "product_id": pa.array([17], pa.int64()),
            "title": ["Armchair"],
            "title_de": pa.array(["Sessel"]).dictionary_encode(),
            "category_de": pa.array([b"B\xc3\xbcro"], pa.binary()),
            "price": pa.array([19.99], pa.float32()),
            "tags": ["oak | seat"],
            "image": ["a.jpg"],
            "made": [datetime.date(2026, 3, 1)],
            "seen": pa.array([datetime.datetime(2026, 3, 1, 12)], pa.timestamp("us", tz="UTC")),
            "width_cm": pa.array([decimal.Decimal("60.50")], pa.decimal128(6, 2)),
            "rest": pa.nulls(1),
        }
    )
    assert row.product is not None
    assert (row.product_id, row.images) == ("17", ["a.jpg"])
    assert row.product.titles == TITLES
    assert row.product.categories == {"de": "Büro"}
    assert str(row.product.price) == "19.99"
    assert row.product.tags == ["oak", "seat"]
    assert row.product.attributes == {
        "made": "2026-03-01",
        "seen": "2026-03-01T12:00:00+00:00",
        "width_cm": "60.5",
    }


def test_what_pandas_writes_for_missing_numbers_is_missing() -> None:
    first, second = rows_of(
        {"product_id": [5.0, 6.0], "price": [float("nan"), 3.5], "image": ["a.jpg", "b.jpg"]}
    )
    assert (first.product_id, second.product_id) == ("5", "6")
    assert first.product is not None
    assert first.product.price is None


def test_rows_that_cannot_be_converted_are_told_and_the_others_kept() -> None:
    rows = rows_of(
        {
            "product_id": ["p1", "p2", "p3", "p4", "p5", None, "../p7"],
            "price": pa.array([1.5, -1.0, 2.5, 1.5, 1.5, 1.5, 1.5]),
            "images": pa.array([["a.jpg"]] * 3 + [[]] + [["a.jpg"]] * 3, pa.list_(pa.string())),
            "data": pa.array([b"text", b"", b"\xff\xfe", None, None, None, None], pa.binary()),
            "at": pa.array([None, None, None, None, 2**62, None, None], pa.timestamp("us")),
        }
    )
    assert [(row.number, row.problem[0] if row.problem else None) for row in rows] == [
        (1, None),
        (2, "invalid_price"),
        (3, "invalid_row"),
        (4, "no_image"),
        (5, "invalid_row"),
        (6, "missing_product_id"),
        (7, "invalid_product_id"),
    ]
    assert "'data' holds bytes that are not UTF-8 text" in (rows[2].problem or ("", ""))[1]
    long = rows_of({"product_id": ["p1", "p2"], "image": ["a", "b"], "note": ["x" * 1_000_001, "x"]})
    assert [row.problem[0] if row.problem else None for row in long] == ["invalid_row", None]


@pytest.mark.parametrize(
    "data",
    [
        b"PAR1",
        b"PAR1" + bytes(1000) + b"PAR1",
        parquet(pa.table({"name": ["x"]})),
        parquet(pa.table({"product_id": ["x"], **{f"c{n}": [1] for n in range(500)}})),
        parquet(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], ["product_id", "product_id"])),
    ],
)
def test_what_is_no_manifest_is_said(data: bytes) -> None:
    with pytest.raises(InvalidManifest, match="Parquet manifest"):
        list(read_rows(ManifestAlone("manifest.parquet", lambda: io.BytesIO(data))))


def test_a_file_that_is_damaged_in_the_middle_says_where() -> None:
    ids = [f"p{n}" for n in range(4000)]
    data = bytearray(parquet(pa.table({"product_id": ids, "image": ids}), row_group_size=1000))
    half = len(data) // 2
    data[half : half + 2000] = bytes(2000)
    read: list[Row] = []
    with pytest.raises(InvalidManifest, match="after row"):
        read.extend(read_rows(ManifestAlone("manifest.parquet", lambda: io.BytesIO(bytes(data)))))
    assert [row.product_id for row in read] == ids[: len(read)]


@pytest.mark.parametrize("compress_type", [0, 8])
def test_in_an_archive_and_in_a_folder(tmp_path: Path, compress_type: int) -> None:
    data = parquet(pa.table({"product_id": ["p1"], "image": ["a.jpg"]}))
    packed = archive({"goods/products.parquet": data}, compress_type)
    assert [row.images for row in read_rows(opened(packed))] == [["goods/a.jpg"]]
    (tmp_path / "products.parquet").write_bytes(data)
    assert [row.images for row in read_rows(FolderSource(tmp_path))] == [["a.jpg"]]


def test_where_pyarrow_is_not_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shared.imports.arrow", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Misconfigured, match="pyarrow"):
        list(read_rows(ManifestAlone("manifest.parquet", lambda: io.BytesIO(b"PAR1"))))


def test_rows_are_read_in_small_numbers_where_one_value_could_stand_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A value of ten megabytes, kept once in the file, would be a terabyte in a hundred thousand rows."""
    notes = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int8()), ["x" * 10_000_000])
    data = parquet(pa.table({"product_id": ["p1"] * 1000, "note": notes}), compression="zstd")
    assert len(data) < 100_000
    read = pq.ParquetFile(io.BytesIO(data))
    assert arrow._batch_rows(read) < 60
    small = pq.ParquetFile(io.BytesIO(parquet(pa.table({"product_id": ["p1"] * 1000}))))
    assert arrow._batch_rows(small) == 1000
    monkeypatch.setattr(arrow, "_COLUMN_BYTES", 9_000_000)
    with pytest.raises(InvalidManifest, match="smaller row groups"):
        arrow._batch_rows(read)
