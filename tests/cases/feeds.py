# ruff: noqa: E501  files as platforms write them have long lines
"""Small files as platforms write them, and how they are read."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from shared.imports.manifest import Row, read_rows
from shared.imports.sources import ManifestAlone
from shared.imports.tables import Reading


def rows_of(data: bytes | str, name: str = "feed.dat", reading: Reading | None = None) -> list[Row]:
    """Read a manifest that came alone; its name says nothing about its format."""
    content = data.encode() if isinstance(data, str) else data
    return list(read_rows(ManifestAlone(name, lambda: io.BytesIO(content)), reading))


def good(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, of which none may have a problem."""
    assert [row.problem for row in rows] == [None] * len(rows)
    return list(rows)


def reasons(rows: Sequence[Row]) -> list[str | None]:
    return [row.problem and row.problem[0] for row in rows]


def product(row: Row) -> Any:
    assert row.product is not None, row.problem
    return row.product


def workbook(rows: Sequence[Sequence[Any]], **parts: str) -> bytes:
    """Return an .xlsx file as Excel writes it: shared texts, numbers as they are, one sheet.

    Args:
        parts: other contents of members, by their names with ``_`` for ``/``.
    """
    texts: list[str] = []

    def cell(value: Any, place: str) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
        if isinstance(value, int | float):
            return f'<c r="{place}"><v>{value!r}</v></c>'
        if str(value).startswith("#N/A"):
            return f'<c r="{place}" t="e"><v>#N/A</v></c>'
        texts.append(str(value))
        return f'<c r="{place}" t="s"><v>{len(texts) - 1}</v></c>'

    lines = [
        f'<row r="{n}">' + "".join(cell(v, f"{chr(65 + k)}{n}") for k, v in enumerate(row)) + "</row>"
        for n, row in enumerate(rows, start=1)
    ]
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    rel = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
    members: Mapping[str, str] = {
        "[Content_Types].xml": f"{head}<Types/>",
        "xl/workbook.xml": f'{head}<workbook {space} {rel}><sheets><sheet name="Products" sheetId="1" '
        'r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'{head}<Relationships><Relationship Id="rId1" '
        'Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"{head}<worksheet {space}><sheetData>{''.join(lines)}</sheetData></worksheet>",
        "xl/sharedStrings.xml": f"{head}<sst {space}>"
        + "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
        + "</sst>",
        **parts,
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return packed.getvalue()


GOOGLE_RSS = """<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0">
<channel>
<title>Example - Furniture</title>
<link>https://shop.example</link>
<description>All our chairs</description>
<item>
<g:id>chair-1</g:id>
<title>not this one</title>
<g:title>Armchair &amp; stool</g:title>
<g:description><![CDATA[<p>Soft &amp; warm.</p><p>Made of oak.</p>]]></g:description>
<g:link>https://shop.example/chair-1</g:link>
<g:image_link>https://cdn.shop.example/chair-1.jpg</g:image_link>
<g:additional_image_link>https://cdn.shop.example/chair-1b.jpg</g:additional_image_link>
<g:additional_image_link>https://cdn.shop.example/chair-1c.jpg</g:additional_image_link>
<g:availability>in stock</g:availability>
<g:price>129.00 EUR</g:price>
<g:brand>Holz &amp; Co</g:brand>
<g:gtin>04012345678901</g:gtin>
<g:color>Green</g:color>
<g:item_group_id>chair</g:item_group_id>
<g:product_type>Home &gt; Chairs</g:product_type>
<g:google_product_category>443</g:google_product_category>
<g:shipping><g:country>DE</g:country><g:price>4.90 EUR</g:price></g:shipping>
</item>
<item><g:id>chair-2</g:id><g:title>Stool</g:title><g:price>1,299.00 EUR</g:price>
<g:image_link>//cdn.shop.example/chair-2.jpg</g:image_link></item>
</channel>
</rss>
"""

GOOGLE_ATOM = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<title>Example - Online Store</title>
<link rel="self" href="https://shop.example"/>
<updated>2026-11-30T08:00:00Z</updated>
<entry>
<g:id>TV_123456</g:id>
<g:title>Television</g:title>
<link href="https://shop.example/tv"/>
<summary>42 inches</summary>
<g:image_link>https://cdn.shop.example/tv.png</g:image_link>
<g:price>499.00 usd</g:price>
<g:availability>out_of_stock</g:availability>
</entry>
</feed>
"""

GOOGLE_TSV = (
    "id\ttitle\tdescription\tlink\timage link\tadditional image link\tprice\tavailability\tbrand\n"
    'a-1\tShelf 12" wide\t"Quoted" text\thttps://shop.example/a-1\thttps://cdn.shop.example/a-1.jpg\t'
    "https://cdn.shop.example/a-1b.jpg,https://cdn.shop.example/a-1c.jpg\t19.99 EUR\tin_stock\tHolz\n"
    "a-2\tBoard\t\thttps://shop.example/a-2\thttps://cdn.shop.example/a-2.jpg\t\t5.00 EUR\tpreorder\tHolz\n"
)

SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,"
    "Option2 Name,Option2 Value,Variant SKU,Variant Inventory Qty,Variant Price,Variant Compare At Price,"
    "Variant Barcode,Image Src,Image Position,Image Alt Text,Variant Image,Status\n"
    'classic-tee,Classic Tee,"<p>Soft <b>cotton</b>,\nwashable</p>",Acme,Apparel,Shirts,"summer, cotton",TRUE,'
    "Color,Red,Size,S,TEE-R-S,5,19.99,25.00,'0401,https://cdn.shop.example/tee-2.jpg,2,,"
    "https://cdn.shop.example/tee-red.jpg,active\n"
    "classic-tee,,,,,,,,,Blue,,M,TEE-B-M,0,21.99,,,https://cdn.shop.example/tee-1.jpg,1,,,\n"
    "classic-tee,,,,,,,,,,,,,,,,,https://cdn.shop.example/tee-3.jpg,3,,,\n"
    "mug,Mug,,Acme,,Kitchen,,TRUE,Title,Default Title,,,MUG,1,9.00,,,https://cdn.shop.example/mug.jpg,1,,,active\n"
)

SHOPIFY_NEW = (
    "Title,URL handle,Description,Vendor,Product category,Type,Tags,Status,SKU,Barcode,Option1 name,"
    "Option1 value,Price,Compare-at price,Inventory quantity,Product image URL,Image position,Variant image URL\n"
    "Lamp,lamp,Bright,Acme,Home > Lamps,Lamps,light,Active,L-1,,Colour,Black,49.00,,3,"
    "https://cdn.shop.example/lamp.jpg,1,\n"
    ",lamp,,,,,,,L-2,,,White,45.00,,1,https://cdn.shop.example/lamp-2.jpg,2,\n"
)

WOOCOMMERCE = (
    "ID,Type,SKU,Name,Published,Is featured?,Visibility in catalog,Short description,Description,"
    "Tax status,In stock?,Stock,Regular price,Sale price,Categories,Tags,Images,Parent,Attribute 1 name,"
    "Attribute 1 value(s),Attribute 1 visible,Attribute 1 global\n"
    '44,variable,woo-tee,V-Neck T-Shirt,1,1,visible,A tee,"<p>Nice</p>",taxable,1,,,,'
    '"Clothing > Tshirts, Sale","tee, neck","https://shop.example/v.jpg, https://shop.example/v2.jpg",,'
    'Color,"Blue, Red",1,1\n'
    "46,simple,woo-cap,Cap,1,0,visible,,,taxable,0,,18,16,Clothing,,https://shop.example/cap.jpg,,,,,\n"
    "60,variation,woo-tee-red,V-Neck T-Shirt - Red,1,0,visible,,,taxable,1,5,20,,,,"
    "https://shop.example/v-red.jpg,woo-tee,Color,Red,,1\n"
    "61,variation,woo-tee-blue,V-Neck T-Shirt - Blue,1,0,visible,,,taxable,1,5,25,,,,,id:44,Color,Blue,,1\n"
)
