"""Files that lost or changed values silently, or whose errors did not say what to do."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidInput, InvalidManifest
from shared.imports.mapping import check_fields
from shared.imports.tables import Reading
from tests.builders import jpeg
from tests.cases.feeds import good, product, reasons, rows_of, workbook
from tests.shop import Shop

WOO_DE = (
    "ID,Typ,Artikelnummer,Name,Sichtbarkeit im Katalog,Auf Lager?,Regulärer Preis,Kategorien,Schlagwörter,"
    "Bilder,Übergeordnet,Attribut 1 Name,Attribut 1 Wert(e)\n"
)
WOO_FR = (
    "ID,Type,UGS,Nom,Visibilité dans le catalogue,En stock ?,Tarif régulier,Catégories,Étiquettes,Images,"
    "Parent,Nom de l’attribut 1,Valeur(s) de l’attribut 1\n"
)
WOO_ES = (
    "ID,Tipo,SKU,Nombre,Visibilidad en el catálogo,¿Existencias?,Precio normal,Categorías,Etiquetas,Imágenes,"
    "Superior,Nombre del atributo 1,Valor(es) del atributo 1\n"
)


@pytest.mark.parametrize("header", [WOO_DE, WOO_FR, WOO_ES])
def test_woocommerce_exports_in_the_language_of_the_shop(header: str) -> None:
    lines = '44,variable,tee,Tee,visible,1,,Shirts,"a, b",https://x.example/a.jpg,,Color,"Blue, Red"\n'
    lines += '45,variation,tee-b,Tee - Blue,visible,1,"20,50",,,https://x.example/b.jpg,tee,Color,Blue\n'
    (row,) = good(rows_of(header + lines))
    found = product(row)
    assert (str(found.price), found.category, found.tags) == ("20.50", "Shirts", ["a", "b"])
    assert row.images == ["https://x.example/a.jpg", "https://x.example/b.jpg"]
    assert (found.attributes["colour"], found.attributes["availability"]) == (["Blue", "Red"], "in_stock")


@pytest.mark.parametrize(
    "header",
    [
        "identifiant;titre;type de produit;prix;devise;lien image",
        "Art.-Nr.;Produktbezeichnung;Warengruppe;VK-Preis;Währung;Bild 1",
        "商品ID;商品名;カテゴリ;価格;通貨;画像URL",
        "Codice;Nome;Categoria;Prezzo;Valuta;Immagine",
        "id~name~category~price~currency~image",
        "id^name^category^price^currency^image",
    ],
)
def test_columns_and_delimiters_of_more_countries(header: str) -> None:
    delimiter = next(sign for sign in "~^;" if sign in header)
    (row,) = good(rows_of(header + "\n" + delimiter.join(("7", "T", "C", "12,50", "CHF", "a.jpg")) + "\n"))
    found = product(row)
    assert (row.product_id, found.titles, found.category, row.images) == ("7", {"en": "T"}, "C", ["a.jpg"])
    assert (str(found.price), found.currency) == ("12.50", "CHF")


@pytest.mark.parametrize(
    ("currency", "text", "amount"),
    [
        ("INR", "₹1,29,999.00", "129999.00"),
        ("INR", "1,29,999", "129999"),
        ("JPY", "¥12,800", "12800"),
        ("JPY", "12,800円", "12800"),
        ("CNY", "￥128.00", "128.00"),
        ("SEK", "1 299:-", "1299"),
        ("DKK", "kr. 1.299,00", "1299.00"),
        ("THB", "฿1,299.00", "1299.00"),
    ],
)
def test_prices_of_more_countries(currency: str, text: str, amount: str) -> None:
    (row,) = good(
        rows_of(f"product_id\timages\tprice\n1\ta.jpg\t{text}\n", reading=Reading(currency=currency))
    )
    assert str(product(row).price) == amount
    for price in ("1,299", "1.299", "1,29.999", "1,2,999,00"):
        data = f"product_id\timages\tprice\n1\ta.jpg\t{price}\n"
        assert reasons(rows_of(data, reading=Reading(currency="EUR"))) == ["invalid_price"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ('{"product_id": "1", "product_id": "2", "images": ["a"]}', "the key 'product_id' twice"),
        ('[{"product_id": "1", "price": 5, "price": 7, "images": ["a"]}]', "the key 'price' twice"),
        (f'[{{"id": "1", "image": "a", "n": {"9" * 5000}}}]', "over 4,300 digits: write it as text"),
        ('{"id": "1", "image": "a", "x": ' + "[" * 99_999 + "]" * 99_999 + "}", "too deeply"),
        ('[{"id": "1", "image": "a", "title": true}]', "no title: write one text"),
        ("<rss><item><id>1</id><id>2</id><image>a</image></item></rss>", "is no product id"),
        ("product_id,title,images\n1,T" + "x" * 200_000 + ",a\n", "over 131,072 characters: shorten it"),
    ],
)
def test_what_would_be_lost_or_changed_is_a_bad_row_that_says_what_to_do(data: str, sentence: str) -> None:
    (row,) = rows_of(data)
    assert row.problem is not None
    assert sentence in row.problem[1]


def test_titles_by_language_in_an_export() -> None:
    (row,) = good(rows_of('[{"id": "1", "image": "a", "title": {"de": "Stuhl"}}]'))
    assert product(row).titles == {"de": "Stuhl"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("x" * 1_100_000 + "\n", r"1,000,000 characters\.$"),
        ('[{"id": "1", "image": "a", "x": "' + "x" * 1_200_000 + '"}]', "over 1,000,000 characters"),
        ('<?xml version="1.0" encoding="zlib"?><rss/>', "not text in its encoding 'zlib'"),
    ],
)
def test_files_that_stop_name_the_true_reason(data: str, sentence: str) -> None:
    with pytest.raises(InvalidManifest, match=sentence):
        rows_of(data)


def _sheet(cell: str, column: str = "price") -> bytes:
    head = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in ("id", "image", column))
    row = f'<c t="inlineStr"><is><t>1</t></is></c><c t="inlineStr"><is><t>a</t></is></c>{cell}'
    rows = f'<row r="1">{head}</row><row r="2">{row}</row>'
    dates = '<styleSheet><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'
    parts = {
        "xl/worksheets/sheet1.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>",
        "xl/styles.xml": dates,
    }
    return workbook([["id"]], **parts)


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("<c><f>A1*2</f></c>", "column C holds a formula without its value"),
        ("<c><f>A1*2</f><v></v></c>", "column C holds a formula without its value"),
        ('<c t="s"><v>99</v></c>', "column C holds a text that the workbook lacks"),
        ('<c r="ZZZ2"><v>5</v></c>', "column without a name"),
        (f'<c t="str"><v>{"x" * 1_500_000}</v></c>', "column C holds a text of over 1,000,000 characters"),
    ],
)
def test_cells_of_workbooks_are_read_or_named(cell: str, sentence: str) -> None:
    (row,) = rows_of(_sheet(cell))
    assert row.problem is not None
    assert sentence in row.problem[1]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("<c><v>1234567890123456789</v></c>", 1234567890123456789),
        ('<c s="1"><v>45000</v></c>', "2023-03-15"),
        ('<c s="1"><v>inf</v></c>', "inf"),
        ('<c t="str"><f>A1</f><v></v></c>', None),
    ],
)
def test_values_of_workbooks_are_kept(cell: str, value: Any) -> None:
    (row,) = good(rows_of(_sheet(cell, "code")))
    assert product(row).attributes.get("code") == value


@pytest.mark.parametrize("product_id", ["", " p1", "p1/..", "x" * 129])
def test_a_sync_deletes_nothing_for_a_row_whose_id_cannot_be_read(shop: Shop, product_id: str) -> None:
    rows = ['{"product_id": "p0", "images": ["p0.jpg"]}', '{"product_id": "p1", "images": ["p1.jpg"]}']
    files: dict[str, bytes | str] = {"p0.jpg": jpeg(seed=0), "p1.jpg": jpeg(seed=1)}
    shop.import_files({"products.jsonl": "\n".join(rows), **files})
    rows[1] = rows[1].replace('"p1"', f'"{product_id}"')
    job = shop.jobs.status(shop.import_files({"products.jsonl": "\n".join(rows), **files}, mode="sync"))
    assert (job.state, job.counts.deleted) == ("failed", 0)
    assert "cannot be read" in str(job.error)
    kept = shop.jobs.status(shop.import_files({"products.jsonl": rows[0], **files}, mode="sync"))
    assert kept.counts.deleted == 1, "the control"


@pytest.mark.parametrize("text", ["a\0", "a\ud800"])
def test_a_mapping_that_the_database_refuses_is_refused_first(text: str) -> None:
    for mapping in ({"title": [text]}, {f"attributes.{text}": ["name"]}):
        with pytest.raises(InvalidInput, match=r"^mapping: .* (NUL|half a character)"):
            check_fields(mapping)
