# ruff: noqa: E501  files as people write them have long lines
"""Each format, recognised by its content: files as the platforms' own pages describe them (case 04)."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from shared.errors import InvalidManifest
from shared.imports import xlsx
from shared.imports.formats import Format
from shared.imports.sandboxed import sandboxed_records
from shared.sandbox.budget import Budget
from tests.cases.feeds import (
    GOOGLE_ATOM,
    GOOGLE_RSS,
    GOOGLE_TSV,
    SHOPIFY,
    SHOPIFY_NEW,
    WOOCOMMERCE,
    good,
    product,
    reasons,
    rows_of,
    workbook,
)

CSV = "product_id;title;price;images\nstühl;Stühle für €;12,50;bilder/stühl.jpg\n"


def test_google_feed_in_rss() -> None:
    chair, stool = good(rows_of(GOOGLE_RSS))
    found = product(chair)
    assert (chair.product_id, found.titles, found.url) == (
        "chair-1",
        {"en": "Armchair & stool"},
        "https://shop.example/chair-1",
    )
    assert (str(found.price), found.currency, found.category) == ("129.00", "EUR", "Home > Chairs")
    assert chair.images == [f"https://cdn.shop.example/chair-1{c}.jpg" for c in ("", "b", "c")]
    assert found.attributes == {
        "availability": "in_stock",
        "brand": "Holz & Co",
        "colour": "Green",
        "description": "Soft & warm.\nMade of oak.",
        "google_product_category": "443",
        "gtin": "04012345678901",
        "item_group_id": "chair",
        "shipping": {"country": "DE", "price": "4.90 EUR"},
    }
    assert (stool.images, str(product(stool).price)) == (["https://cdn.shop.example/chair-2.jpg"], "1299.00")


def test_google_feed_in_atom() -> None:
    (row,) = good(rows_of(GOOGLE_ATOM))
    found = product(row)
    assert (row.product_id, found.url, found.currency) == ("TV_123456", "https://shop.example/tv", "USD")
    assert found.attributes["availability"] == "out_of_stock"


def test_google_feed_with_tabs() -> None:
    shelf, _ = good(rows_of(GOOGLE_TSV))
    assert product(shelf).titles == {"en": 'Shelf 12" wide'}
    assert product(shelf).attributes["description"] == '"Quoted" text'
    assert shelf.images == [f"https://cdn.shop.example/a-1{c}.jpg" for c in ("", "b", "c")]
    assert product(shelf).attributes["brand"] == "Holz"


def test_shopify_joins_variants_and_pictures() -> None:
    tee, mug = good(rows_of(SHOPIFY))
    found = product(tee)
    assert (tee.product_id, found.titles, found.category) == ("classic-tee", {"en": "Classic Tee"}, "Shirts")
    names = ("tee-1", "tee-2", "tee-3", "tee-red")
    assert tee.images == [f"https://cdn.shop.example/{name}.jpg" for name in names]
    assert (found.tags, str(found.price)) == (["summer", "cotton"], "19.99")
    assert found.attributes["colour"] == ["Red", "Blue"]
    assert found.attributes["Size"] == ["S", "M"]
    assert [v["sku"] for v in found.attributes["variants"]] == ["TEE-R-S", "TEE-B-M"]
    assert found.attributes["brand"] == "Acme"
    assert found.attributes["description"] == "Soft cotton,\nwashable"
    assert "variants" not in product(mug).attributes


def test_shopify_of_the_newer_template() -> None:
    (lamp,) = good(rows_of(SHOPIFY_NEW))
    assert (lamp.product_id, product(lamp).titles) == ("lamp", {"en": "Lamp"})
    assert len(lamp.images) == 2
    assert product(lamp).attributes["colour"] == ["Black", "White"]


def test_woocommerce_joins_variations_wherever_they_stand() -> None:
    tee, cap = good(rows_of(WOOCOMMERCE))
    found = product(tee)
    assert (tee.product_id, found.titles, str(found.price)) == ("44", {"en": "V-Neck T-Shirt"}, "20")
    assert tee.images == [f"https://shop.example/{n}.jpg" for n in ("v", "v2", "v-red")]
    assert found.attributes["colour"] == ["Blue", "Red"]
    assert [v["sku"] for v in found.attributes["variants"]] == ["woo-tee-red", "woo-tee-blue"]
    assert (cap.product_id, product(cap).attributes["availability"]) == ("46", "out_of_stock")


def test_a_woocommerce_variation_without_its_parent_is_a_product() -> None:
    lines = WOOCOMMERCE.splitlines(keepends=True)
    rows = rows_of(lines[0] + lines[3])
    assert [row.product_id for row in good(rows)] == ["60"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_csv_of_any_delimiter_and_encoding(delimiter: str, encoding: str) -> None:
    text = CSV.replace("12,50", "12.50").replace(";", delimiter)
    (row,) = good(rows_of(text.encode(encoding)))
    assert (row.product_id, row.images) == ("stühl", ["bilder/stühl.jpg"])
    assert product(row).titles == {"en": "Stühle für €"}


@pytest.mark.parametrize(
    "start", ["", "sep=;\n", '"sep=;"\r\n', "\n\n", "\ufeff\n", ";;;\n", "\ufeffsep=;\n"]
)
def test_what_may_stand_before_the_columns(start: str) -> None:
    assert [row.product_id for row in good(rows_of(start + CSV))] == ["stühl"]


def test_a_character_that_is_cut_by_the_end_of_a_piece_is_utf8() -> None:
    head = "product_id,title,images\n"
    for shift in range(4):
        text = head + f"p,{'x' * (2**20 - len(head) - 4 - shift)}€€€,a.jpg\n"
        assert "Windows" not in str(rows_of(text)[0].problem)
        assert rows_of(text.replace("x" * 1000, ""))


@pytest.mark.parametrize(
    "text",
    [
        '[{"product_id": "a-1", "title": "Chair", "image": "p0.jpg"}, {"product_id": 7, "image": "q.jpg"}]',
        ' \n[\n  {"product_id": "a-1", "title": "Chair",\n "image": "p0.jpg"},\n{"product_id": 7, "image": "q.jpg"}\n]\n',
        '{"products": [{"product_id": "a-1", "title": "Chair", "image": "p0.jpg"}, {"product_id": 7, "image": "q.jpg"}]}',
        '{"product_id": "a-1", "title": "Chair", "image": "p0.jpg"}\n{"product_id": 7, "image": "q.jpg"}',
        '\ufeff{"id": "a-1", "name": "Chair", "image": [{"src": "p0.jpg"}]}\n{"id": 7, "image": {"src": "q.jpg"}}',
    ],
)
def test_json_as_an_array_and_as_lines(text: str) -> None:
    first, second = good(rows_of(text))
    assert (first.product_id, first.images, second.product_id, second.images) == (
        "a-1",
        ["p0.jpg"],
        "7",
        ["q.jpg"],
    )
    assert product(first).titles == {"en": "Chair"}


def test_a_long_json_array_is_read_piece_by_piece() -> None:
    records = [{"product_id": f"p{n}", "image": "a.jpg", "note": "x" * 500} for n in range(2000)]
    assert len(good(rows_of(json.dumps(records)))) == 2000
    with pytest.raises(InvalidManifest, match="before its closing bracket"):
        rows_of(json.dumps(records)[:-1])
    with pytest.raises(InvalidManifest, match="at product 3"):
        rows_of('[{"id": 1, "image": "a"}, {"id": 2, "image": "a"}, {"id": oops}]')
    assert reasons(rows_of('[{"id": 1, "image": "a", "n": 1e400}, {"id": 2, "image": "a"}]')) == [
        "invalid_row",
        None,
    ]


def test_excel() -> None:
    rows: list[list[Any]] = [
        ["Product ID", "Title", "Price", "Currency", "Image", "EAN", "On sale"],
        ["a-1", "Chair", 19.989999999999998, "eur", "p.jpg", 4012345678901, True],
        [None],
        [12345, None, 5, None, "q.jpg", None, False],
        ["bad", "#N/A", 5, None, "q.jpg"],
    ]
    chair, second, bad = rows_of(workbook(rows))
    found = product(chair)
    assert (chair.number, str(found.price), found.currency) == (2, "19.99", "EUR")
    assert found.attributes == {"EAN": 4012345678901, "On sale": True}
    assert (second.number, second.product_id, product(second).titles) == (4, "12345", {})
    assert bad.problem == ("invalid_row", "The cell in column B holds the error #N/A: correct the formula.")


BOMB = '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"PK\003\004xxxx", "no Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Excel file"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"\n<html lang=de>", "web page"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08\x00", "damaged gzip file"),
        (gzip.compress(gzip.compress(b"id,title\n", mtime=0), mtime=0), "gzip file within"),
        ("id,title\n".encode("utf-32"), "UTF-32"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (f"{BOMB}<rss><channel><item><id>&b;</id></item></channel></rss>".encode(), "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><rss/>', "document type"),
        (b"<rss><channel><item><id>1</id></channel></rss>", "not well-formed XML in line 1"),
        (b"<rss><channel><item><id>1</id></item>", "not well-formed"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><path/></svg>", "XML without products"),
        (b"<a>" * 100, "deeper than"),
        (b"<a b='" + b"x" * 9_000_000, "text of over"),
        (workbook([["id"]], **{"xl/workbook.xml": f"{BOMB}<workbook/>"}), "document type"),
        (b"SourceFile,Date\na,b\n", "has the columns SourceFile, Date and no product_id"),
        (b"", "is empty"),
        (b"\n" * 200, "first 100 lines are empty"),
    ],
)
def test_what_is_no_list_of_products_is_called_what_it_is(data: bytes, sentence: str) -> None:
    with pytest.raises(InvalidManifest, match=sentence):
        rows_of(data)


def test_a_workbook_that_unpacks_to_far_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = workbook([["id"], ["x" * 10_000_000]])
    assert reasons(rows_of(bomb)) == ["invalid_product_id"]
    monkeypatch.setattr(xlsx, "_MIN_UNPACKED_BYTES", 2**20)
    with pytest.raises(InvalidManifest, match="times its size"):
        list(xlsx.xlsx_records(io.BytesIO(bomb), len(bomb), "feed.xlsx"))


@pytest.mark.parametrize("kind", ["xlsx", "xml"])
def test_a_file_that_takes_too_much_memory_is_refused_in_its_child(kind: str) -> None:
    """Empty texts of a workbook cost eight bytes each, and count as no characters."""
    if kind == "xlsx":
        space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        data = workbook([["id"]], **{"xl/sharedStrings.xml": f"<sst {space}>{'<si/>' * 3_000_000}</sst>"})
        format_ = Format.XLSX
    else:
        data, format_ = f"<rss><item>{'<a/>' * 1_000_000}</item></rss>".encode(), Format.XML
    budget = Budget(memory_bytes=8 * 2**20, cpu_s=30.0, wall_s=60.0)
    if kind == "xml":  # the control: elements over the limit are not kept
        (record,) = sandboxed_records(io.BytesIO(data), "feed", format_, budget)
        assert "more than 2,000 elements" in str(record[1])
        return
    with pytest.raises(InvalidManifest, match="takes more than 8 MiB of memory"):
        list(sandboxed_records(io.BytesIO(data), "feed", format_, budget))


def test_an_item_of_a_feed_that_is_far_too_long_is_one_bad_row() -> None:
    items = [
        f"<item><id>{n}</id><image>a.jpg</image><d>{'x' * size}</d></item>"
        for n, size in enumerate((9, 2 * 10**6, 9))
    ]
    assert reasons(rows_of(f"<rss>{''.join(items)}</rss>")) == [None, "invalid_row", None]
