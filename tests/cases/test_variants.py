# ruff: noqa: E501  files as people write them have long lines
"""Further variants of feeds: each is read as a person would read it, or refused with what to do."""

from __future__ import annotations

import gzip
import json
import unicodedata
from collections.abc import Mapping

import pytest

from shared.errors import InvalidManifest
from shared.imports.manifest import Row, read_rows
from shared.imports.tables import Reading
from tests.cases.feeds import good, product, reasons, rows_of, workbook
from tests.packing import archive, opened

CSV = b"product_id,title,images\n1,T,a.jpg\n"
XML = b"<rss><channel><item><id>1</id><title>T</title><image>a.jpg</image></item></channel></rss>"
SHOPIFY = "Handle,Title,Type,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src,Image Position\n"
WOO = "ID,Type,SKU,Name,Description,In stock?,Regular price,Categories,Images,Parent\n"


def packed(files: Mapping[str, bytes | str]) -> list[Row]:
    return list(read_rows(opened(archive(files))))


def read_one(data: bytes | str, currency: str = "EUR") -> Row:
    (row,) = good(rows_of(data, reading=Reading(currency=currency)))
    return row


@pytest.mark.parametrize(
    ("data", "images"),
    [
        ("<products><product id='7'><images><image>a.jpg</image><image>b.jpg</image></images></product></products>", ["a.jpg", "b.jpg"]),
        ("<products><product><sku>7</sku><pictures><picture url='https://x.example/a.jpg'/><picture url='//x.example/b.jpg'/></pictures></product></products>", ["https://x.example/a.jpg", "https://x.example/b.jpg"]),
        ("id\timage_link\tadditional_image_link\tadditional_image_link\n7\thttps://x.example/a.jpg\thttps://x.example/b.jpg\thttps://x.example/c.jpg\n", [f"https://x.example/{n}.jpg" for n in "abc"]),
        (WOO + '7,simple,S,N,,1,5,,"https://x.example/a.jpg, https://x.example/w_1,h_1/b.jpg",\n', ["https://x.example/a.jpg", "https://x.example/w_1,h_1/b.jpg"]),
        (WOO + '7,simple,S,N,,1,5,,"a.jpg, b.jpg",\n', ["a.jpg", "b.jpg"]),
        ('[{"offerId": "7", "imageLink": "https://x.example/a.jpg", "additionalImageLinks": ["https://x.example/b.jpg"]}]', ["https://x.example/a.jpg", "https://x.example/b.jpg"]),
        (SHOPIFY + "7,T,,,,,5,https://x.example/c.jpg,10\n7,,,,,,,https://x.example/b.jpg,2.0\n7,,,,,,,https://x.example/a.jpg,1\n", [f"https://x.example/{n}.jpg" for n in "abc"]),
        (workbook([["id", "image", "image"], ["7", "a.jpg", "b.jpg"]]), ["a.jpg", "b.jpg"]),
    ],
)  # fmt: skip
def test_all_pictures_of_a_product_are_found(data: bytes | str, images: list[str]) -> None:
    assert (read_one(data).product_id, read_one(data).images) == ("7", images)


@pytest.mark.parametrize(
    "data",
    [
        b"\n\n<?xml version='1.0'?>" + XML,
        b"\xef\xbb\xbf<?xml version='1.0' encoding='UTF-8'?>" + XML,
        b'<?xml version="1.0" encoding="shift_jis"?>' + XML,
        '<?xml version="1.0" encoding="UTF-16"?>'.encode("utf-16") + XML.decode().encode("utf-16-le"),
        gzip.compress(CSV, mtime=0),
        gzip.compress(XML, mtime=0),
        gzip.compress(b'[{"id": "1", "title": "T", "image": "a.jpg"}]', mtime=0),
        b"Price list 2026\n\nproduct_id,title,images\n1,T,a.jpg\n",
        b"# exported 2026-11-30\nproduct_id;title;images\n1;T;a.jpg\n",
        CSV + b"\x1a",
        CSV.replace(b"\n", b"\r"),
        'product_id,title,images\n"\u00a01 ",T,a.jpg\n'.encode(),
        workbook([["Price list"], [None], ["Product ID", "Title", "Image"], ["1", "T", "a.jpg"]]),
        b'{"count": 2, "products": [{"id": "1", "title": "T", "image": "a.jpg"}], "next": null}',
        b'{"data": {"shop": {"products": [{"id": "1", "title": "T", "image": "a.jpg"}]}}}',
        b'{"data": {"products": {"edges": [{"cursor": "x", "node": {"id": "1", "title": "T", "image": "a.jpg"}}]}}}',
        b'{\n  "id": "1",\n  "title": "T",\n  "image": "a.jpg"\n}\n',
        b'{"id": "1", "title": "T", "image": "a.jpg"},\n',
        b'[{"id": "1", "title": "T", "image": "a.jpg"},]',
    ],
)
def test_one_product_in_many_forms(data: bytes) -> None:
    row = read_one(data)
    assert (row.product_id, product(row).titles, row.images) == ("1", {"en": "T"}, ["a.jpg"])


def test_a_product_with_lists_of_objects_is_no_outer_object() -> None:
    lines = '{"id": "1", "image": "a.jpg", "items": [{"sku": "x"}]}\n{"id": "2", "image": "a.jpg"}\n'
    assert [row.product_id for row in good(rows_of(lines))] == ["1", "2"]
    bad = '{"id": "1", "image": "a.jpg"\n{"id": "2", "image": "a.jpg"}\n'
    assert reasons(rows_of(bad)) == ["invalid_row", None], "one bad line, not a document of several lines"


def test_answers_of_shop_apis() -> None:
    woo = [
        {
            "id": 799,
            "name": "Chair",
            "price": "21.99",
            "categories": [{"id": 9, "name": "Chairs"}],
            "tags": [{"id": 1, "name": "red"}],
            "images": [{"id": 1, "src": "https://x.example/a.jpg"}],
        }
    ]
    row = read_one(json.dumps(woo))
    assert (row.product_id, row.images) == ("799", ["https://x.example/a.jpg"])
    assert (product(row).category, product(row).tags) == ("Chairs", ["red"])


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("1.299,00 €", "1299.00", "EUR"),
        ("EUR 12", "12", "EUR"),
        ("12,5 kr", "12.5", None),
        ("R$ 12,50", "12.50", "BRL"),
        ("12.50 TL", "12.50", "TRY"),
        ("12 Kč", "12", "CZK"),
        ("1.299,-", "1299.0", None),
        ("Fr. 12.50", "12.50", "CHF"),
        ("US$12", "12", "USD"),
        ("\u00a012,50\u00a0zł ", "12.50", "PLN"),
    ],
)
def test_prices_as_shops_write_them(text: str, amount: str, currency: str | None) -> None:
    found = product(read_one(f"product_id\timages\tprice\n1\ta.jpg\t{text}\n", "SEK"))
    assert (str(found.price), found.currency) == (amount, currency)


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        ("product_id,images\n00123,a.jpg\n1.50,a.jpg\n1E5,a.jpg\n", ["00123", "1.50", "1E5"]),
        ('product_id,images\n"=""00123""",a.jpg\n', ["00123"]),
        ('[{"id": 12345678901234567890, "image": "a.jpg"}, {"id": 12.0, "image": "a.jpg"}]', ["12345678901234567890", "12"]),
        ('[{"id": true, "image": "a.jpg"}]', [None]),
    ],
)  # fmt: skip
def test_ids_are_texts(data: str, ids: list[str | None]) -> None:
    assert [row.product_id for row in rows_of(data)] == ids


def test_excel_shows_leading_zeros_by_a_format() -> None:
    styles = '<styleSheet><numFmts><numFmt numFmtId="164" formatCode="00000"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs></styleSheet>'
    sheet = workbook([["id", "image"], [123, "a.jpg"]], **{"xl/styles.xml": styles})
    assert read_one(sheet).product_id == "123", "the control: the cell has no style"
    rows = (
        '<row r="1"><c t="inlineStr"><is><t>id</t></is></c><c t="inlineStr"><is><t>image</t></is></c></row>'
    )
    rows += '<row r="2"><c s="1"><v>123</v></c><c t="inlineStr"><is><t>a_x000D_b.jpg</t></is></c></row>'
    parts = {
        "xl/styles.xml": styles,
        "xl/worksheets/sheet1.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>",
    }
    row = read_one(workbook([["id"]], **parts))
    assert (row.product_id, row.images) == ("00123", ["a\rb.jpg"])


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("SKU;Name;Price (EUR);Image\n7;T;12.50;a.jpg\n", ("7", "12.50", "EUR")),
        ("product_id,title,price_usd,images\n7,T,12.50,a.jpg\n", ("7", "12.50", "USD")),
        ("Artikelnummer;Bezeichnung;Preis in €;Bild\n7;T;12,50;a.jpg\n", ("7", "12.50", "EUR")),
        ("Artikelnummer;Bezeichnung;Preis;Währung;Bild\n7;T;12,50;CHF;a.jpg\n", ("7", "12.50", "CHF")),
        ("sku,name,regular price,sale price,image\n7,T,12.50,10,a.jpg\n", ("7", "12.50", None)),
    ],
)
def test_columns_that_name_a_currency_or_have_no_id(data: str, found: tuple[str, str, str | None]) -> None:
    for form in ("NFC", "NFD"):
        row = read_one(unicodedata.normalize(form, data))
        assert (row.product_id, str(product(row).price), product(row).currency) == found


def test_titles_of_exports_have_no_entities() -> None:
    assert product(read_one("id,name,image\n1,A &amp; B &#8211; AT&T,a.jpg\n")).titles == {
        "en": "A & B – AT&T"
    }
    own = product(read_one("product_id,title,image\n1,A &amp; B,a.jpg\n"))
    assert own.titles == {"en": "A &amp; B"}, "our own format has texts as they are"


def test_rows_without_a_handle_are_errors_each() -> None:
    rows = rows_of(
        SHOPIFY
        + "tee,Tee,Shirts,Size,S,T-S,10.00,https://x.example/1.jpg,1\n,,,,M,T-M,11.00,,\n,,,,L,T-L,12.00,,\n"
    )
    assert reasons(rows) == [None, "missing_product_id", "missing_product_id"]
    assert [row.number for row in rows] == [2, 3, 4]


def test_woocommerce_marks_commas_and_line_breaks() -> None:
    found = product(read_one(WOO + '7,simple,S,N,"Line\\none",1,5,"Home\\, Garden",a.jpg,\n'))
    assert (found.category, found.attributes["description"]) == ("Home, Garden", "Line\none")


@pytest.mark.parametrize("name", ["products.csv.gz", "feed.txt", "PRODUCTS.CSV", "shop/products.xml.gz"])
def test_manifests_of_a_folder_by_odd_names(name: str) -> None:
    data = gzip.compress(XML if "xml" in name else CSV, mtime=0) if name.endswith(".gz") else CSV
    (row,) = good(packed({name: data, "shop/a.jpg" if "/" in name else "a.jpg": b"x"}))
    assert (row.product_id, row.number > 0) == ("1", True)


def test_a_gzip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.imports import gzip_files

    bomb = gzip.compress(b"product_id,images\n" + b"1,a.jpg\n" * 20_000, mtime=0)
    assert len(rows_of(bomb)) == 20_000
    monkeypatch.setattr(gzip_files, "_MIN_UNPACKED_BYTES", 2**16)
    with pytest.raises(InvalidManifest, match="times its size"):
        rows_of(bomb)
    with pytest.raises(InvalidManifest, match="damaged gzip"):
        rows_of(gzip.compress(CSV * 1000, mtime=0)[:-20])
