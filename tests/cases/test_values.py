# ruff: noqa: E501  files as people write them have long lines
"""Values as people write them: understood, or refused with what to write (cases 14, 15, 21)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.imports.tables import Reading
from tests.cases.feeds import good, product, reasons, rows_of


def prices(*texts: str, currency: str = "EUR") -> list[Any]:
    """Read a file with these prices; a price, or the sentence of what is wrong with it."""
    lines = "".join(f"p{n}\ta.jpg\t{text}\n" for n, text in enumerate(texts))
    rows = rows_of(f"product_id\timage\tprice\n{lines}", reading=Reading(currency=currency))
    return [row.problem[1] if row.problem else str(product(row).price) for row in rows]


@pytest.mark.parametrize(
    ("texts", "read"),
    [
        (("1.299,00", "1.299", "5"), ["1299.00", "1299", "5"]),
        (("1,299.00", "1,299", "12.5"), ["1299.00", "1299", "12.5"]),
        (("1 299,00", "12,50"), ["1299.00", "12.50"]),
        (("1\u202f299,00", "1'299,00", "1\u00a0299\u00a0000,5"), ["1299.00", "1299.00", "1299000.5"]),
        (("1.299.000", "3,5"), ["1299000", "3.5"]),
        (("129,-", "129.--", "7,–"), ["129", "129", "7"]),
        (("0.99", "0,99"), None),
        (("1.299,00", "1,299.00"), None),
    ],
)
def test_the_whole_file_says_what_point_and_comma_mean(
    texts: tuple[str, ...], read: list[str] | None
) -> None:
    found = prices(*texts)
    if read is None:
        assert all("two ways" in sentence for sentence in found)
    else:
        assert found == read


def test_a_price_that_may_mean_two_things_is_refused_unless_another_row_tells() -> None:
    assert "may mean 1.299 or 1299" in prices("1.299")[0]
    assert "may mean 1.299 or 1299" in prices("1,299")[0]
    assert prices("1.299", *["5"] * 100, "0,5")[0] == "1299", "however far away the proof is"
    few = prices(*["12.50"] * 5, "1.299,00")
    assert few[:5] == ["12.50"] * 5
    assert "have a decimal point (row 2: '12.50')" in few[5]


def test_dinars_have_three_decimals() -> None:
    assert prices("12.500", "3.250", currency="KWD") == ["12.500", "3.250"]
    assert "more decimals than EUR" in prices("0.999")[0]
    assert "JPY, which has no decimals" in prices("99.50", currency="JPY")[0]
    assert prices("99.00", currency="JPY") == ["99.00"]


@pytest.mark.parametrize(
    ("price", "column", "read"),
    [
        ("129.00 EUR", "", "EUR"),
        ("EUR 129.00", "", "EUR"),
        ("129.00EUR", "", "EUR"),
        ("129.00 eur", "", "EUR"),
        ("€129.00", "", "EUR"),
        ("129.00 €", "eur", "EUR"),
        ("£ 129.00", "", "GBP"),
        ("129.00", "usd", "USD"),
        ("$129.00", "USD", "USD"),
        ("129.00", "Euro", "EUR"),
        ("129.00", "€", "EUR"),
        ("129.00 kr", "SEK", "SEK"),
        ("$129.00", "", None),
        ("129.00 USD", "EUR", None),
        ("129.00", "EURX", None),
        ("129.00 apples", "", None),
        ("£129.00", "USD", None),
    ],
)
def test_currencies(price: str, column: str, read: str | None) -> None:
    (row,) = rows_of(f"product_id\timage\tprice\tcurrency\np1\ta.jpg\t{price}\t{column}\n")
    if read is None:
        assert row.problem is not None
        assert row.problem[0] in ("invalid_currency", "invalid_price")
        assert "write" in row.problem[1] or "correct" in row.problem[1]
    else:
        assert product(row).currency == read, row.problem
        assert str(product(row).price) == "129.00"


@pytest.mark.parametrize(
    "text", ["free", "-5", "1.2.3", "12..5", "1e3", "", "NaN", "5 - 10", "12,3,4", "1,29,00"]
)
def test_what_is_no_price_is_refused_with_an_example(text: str) -> None:
    (row,) = rows_of(f"product_id\timage\tprice\np1\ta.jpg\t{text}\n")
    if text:
        assert row.problem is not None
        assert row.problem[0] == "invalid_price"
        assert "1299.00" in row.problem[1]
    else:
        assert product(row).price is None


def test_capital_column_names() -> None:
    """Case 14."""
    (row,) = good(
        rows_of(
            "Product_ID,Title,Price,Currency,Images,Category,TAGS\na-1,Chair,249.00,USD,p.jpg,Office,a|b\n"
        )
    )
    found = product(row)
    assert (row.product_id, row.images, found.titles) == ("a-1", ["p.jpg"], {"en": "Chair"})
    assert (str(found.price), found.currency, found.category, found.tags) == (
        "249.00",
        "USD",
        "Office",
        ["a", "b"],
    )
    assert found.attributes == {}


def test_numbered_pictures_and_cells_without_a_column_name() -> None:
    """Case 14, further on: pictures in columns of their own, and columns without a name."""
    rows = rows_of(
        "product_id,image,image_2,Image 3,Brand,,TITLE_DE\np1,a.jpg,b.jpg,c.jpg,X,,Stuhl\np2,a.jpg,,,X,note,\n"
    )
    assert rows[0].images == ["a.jpg", "b.jpg", "c.jpg"]
    assert product(rows[0]).attributes == {"brand": "X"}
    assert product(rows[0]).titles == {"de": "Stuhl"}
    assert rows[1].problem == (
        "invalid_row",
        "The cell 'note' is in a column without a name: name the column, or empty the cell.",
    )


@pytest.mark.parametrize(
    ("header", "cells", "images"),
    [
        ("SKU;Artikelname;Verkaufspreis;Bild", "10-1;Stuhl;12,50;a.jpg", ["a.jpg"]),
        ("sku|name|price|picture url", "10-1|Stuhl|12.50|https://x.example/a.jpg", ["https://x.example/a.jpg"]),
        ("référence;titre;prix;image", "10-1;Stuhl;12,50;a.jpg|b.jpg", ["a.jpg", "b.jpg"]),
        ("id,title,price,photos", '10-1,Stuhl,12.50,"https://x.example/a.jpg, //x.example/b.jpg"',
         ["https://x.example/a.jpg", "https://x.example/b.jpg"]),
    ],
)  # fmt: skip
def test_columns_of_other_programs(header: str, cells: str, images: list[str]) -> None:
    (row,) = good(rows_of(f"{header}\n{cells}\n"))
    assert (row.product_id, product(row).titles, str(product(row).price)) == (
        "10-1",
        {"en": "Stuhl"},
        "12.50",
    )
    assert row.images == images


def test_a_quote_that_is_not_closed_is_named_where_it_opened() -> None:
    """Case 15."""
    text = "product_id,title,images\na-1,Chair,p.jpg\n" + 'a-2,"Oak shelf 12,p.jpg\n'
    rows = rows_of(text + "".join(f"b-{n},T,p.jpg\n" for n in range(50)))
    assert [(row.number, row.product_id) for row in rows] == [(2, "a-1"), (3, None)]
    assert "The quote opened in line 3 is never closed, so lines 3 to 53 were not read" in str(
        rows[1].problem
    )


def test_a_quote_that_another_quote_closes_is_named_where_it_opened() -> None:
    text = 'product_id,title,images\na-1,"A ""wide"" chair\nof oak",p.jpg\na-2,"Oak shelf 12,p.jpg\n'
    text += "".join(f"b-{n},T,p.jpg\n" for n in range(20)) + 'c-1,"Nice, chair",p.jpg\nd-1,T,p.jpg\n'
    rows = rows_of(text)
    assert [row.product_id for row in rows] == ["a-1", None, "d-1"]
    assert "The quote opened in line 4 ends in line 25" in str(rows[1].problem)


def test_a_quote_in_a_later_line_of_a_record_is_named_by_its_line() -> None:
    text = 'product_id,title,note,images\na-1,"one\ntwo","three\nfour,p.jpg\na-2,T,,p.jpg\n'
    (row,) = rows_of(text)
    assert "opened in line 3 is never closed, so lines 2 to 5" in str(row.problem)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("//cdn.shop.example/a.jpg", "https://cdn.shop.example/a.jpg"),
        ("HTTPS://shop.example/A.jpg", "https://shop.example/A.jpg"),
        ("HtTp://shop.example/a.jpg", "http://shop.example/a.jpg"),
        ("S3://goods/a.jpg", "s3://goods/a.jpg"),
        ("images\\a.jpg", "images/a.jpg"),
        (" a.jpg ", "a.jpg"),
    ],
)
def test_addresses_of_pictures_as_people_write_them(cell: str, name: str) -> None:
    """Case 21."""
    (row,) = good(rows_of(f"product_id,images\np1,{cell}\n"))
    assert row.images == [name]


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("HTTPS://shop.example/a", "https://shop.example/a"),
        ("//shop.example/a", "https://shop.example/a"),
        ("www.shop.example/a", None),
        ("shop.example/a", None),
    ],
)
def test_addresses_of_pages(link: str, url: str | None) -> None:
    (row,) = rows_of(f"id,title,image_link,link\np1,T,a.jpg,{link}\n")
    if url is None:
        assert "begin it with https://" in str(row.problem)
    else:
        assert product(row).url == url


@pytest.mark.parametrize(
    ("text", "value"),
    [("in stock", "in_stock"), ("In_Stock", "in_stock"), ("https://schema.org/OutOfStock", "out_of_stock"),
     ("sold out", "out_of_stock"), ("preorder", "preorder"), ("available for order", "backorder"),
     ("auf Lager", "in_stock"), ("perhaps", "perhaps")],
)  # fmt: skip
def test_availability(text: str, value: str) -> None:
    (row,) = good(rows_of(f"id,title,image_link,availability\np1,T,a.jpg,{text}\n"))
    assert product(row).attributes["availability"] == value


def test_ids_are_kept_as_they_are() -> None:
    ids = ["SKU 12/34", "a?b=c&d#e", "100%", "椅子", "A+B", "=1+1", "-x", "x/similar", "//", "p" * 128]
    rows = rows_of("\n".join(["product_id\timages", *(f"{each}\ta.jpg" for each in ids)]))
    assert [row.product_id for row in good(rows)] == ids


def test_the_owner_says_what_columns_mean() -> None:
    text = "Nr;Text;Foto1;Foto2;VK brutto;Saison\n7;Stuhl;a.jpg;b.jpg;12,50;Winter\n"
    mapping = {
        "product_id": ["Nr"],
        "title": ["text"],
        "images": ["Foto1", "Foto2"],
        "price": ["VK brutto"],
        "attributes.season": ["Saison"],
    }
    (row,) = good(rows_of(text, reading=Reading(mapping, is_strict=True)))
    assert (row.product_id, row.images, product(row).attributes) == (
        "7",
        ["a.jpg", "b.jpg"],
        {"season": "Winter"},
    )
    assert reasons(rows_of(text, reading=Reading(mapping | {"ignore": ["Saison"]}))) == [None]
