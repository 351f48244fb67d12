"""Names of columns, by platform: which field of a product each of them means.

Sources: Google's product data specification, Shopify's and WooCommerce's pages on their CSV files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.imports.values import SIGNS
from shared.imports.woocommerce_names import to_english

#: Fields of a product that a column may mean; ``attributes.NAME`` is one too, and ``ignore``.
FIELDS: Final = (
    "product_id",
    "title",
    "titles",
    "category",
    "categories",
    "price",
    "currency",
    "url",
    "tags",
    "images",
    "attributes",
)
IGNORE: Final = "ignore"
ATTRIBUTE: Final = "attributes."
_LOCALE: Final = re.compile(r"(title|category)[_ -]([a-z]{2,3})(?:[_-]([a-z0-9]{2,8}))?", re.I)
_NUMBERED_IMAGE: Final = re.compile(
    r"(?:image|picture|photo|img|foto|bild|image (?:url|link|src)|additional image link)s? ?\d{1,2}"
    r"(?: ?(?:url|link|src))?"
)
_PRICE_CURRENCY: Final = re.compile(
    r"(.+?) ?(?:in )?[(\[]?(eur|usd|gbp|chf|sek|nok|dkk|pln|czk|huf|jpy|cad|aud|try|inr|€|£)[)\]]?"
)
_SPACES: Final = re.compile(r"[\s_\-]+")

#: What names mean in most files, once their case and spaces are folded; the preferred name comes first.
_COMMON: Final[dict[str, tuple[str, ...]]] = {
    "product_id": (
        *("product id", "productid", "id", "item id", "offer id", "offerid", "sku", "article number"),
        *("item number", "product code", "artikelnummer", "artikelnr", "art nr", "produkt id", "artikel id"),
        *("référence", "reference", "referencia", "codice", "handle", "url handle", "itemid", "item id"),
        *(
            "identifiant",
            "identificador",
            "art. nr.",
            "art.nr.",
            "artikel nr.",
            "商品id",
            "商品コード",
            "商品番号",
        ),
    ),
    "title": (
        *(
            "title",
            "name",
            "product name",
            "product title",
            "productname",
            "item name",
            "post title",
            "titel",
        ),
        *("produktname", "artikelname", "bezeichnung", "artikelbezeichnung", "titre", "nom", "título"),
        *("titulo", "nombre", "titolo", "nome", "produktnamn", "naam", "product"),
        *("produktbezeichnung", "nom du produit", "nombre del producto", "商品名", "タイトル"),
    ),
    "category": (
        *("category", "product type", "producttype", "product category", "categories", "type", "kategorie"),
        *("kategorien", "produkttyp", "produktkategorie", "warengruppe", "catégorie", "categorie"),
        *("categoría", "categoria", "google product category", "categorytext"),
        *("type de produit", "tipo de producto", "カテゴリ", "カテゴリー", "商品カテゴリ"),
    ),
    "price": (
        *("price", "variant price", "regular price", "product price", "unit price", "preis", "verkaufspreis"),
        *("vk preis", "vk", "prix", "precio", "prezzo", "prijs", "regulärer preis", "price vat"),
        *("価格", "販売価格"),
    ),
    "currency": (
        *("currency", "currency code", "price currency", "currencyid", "währung", "devise", "moneda"),
        *("valuta", "通貨"),
    ),
    "url": (
        *("url", "link", "product url", "product link", "producturl", "product page", "permalink", "lien"),
        *("enlace", "produktlink", "produkt url", "deeplink", "商品url", "商品リンク"),
    ),
    "tags": ("tags", "tag", "keywords", "schlagwörter", "mots clés", "étiquettes", "etiquetas", "タグ"),
    "images": (
        *("images", "image", "image link", "imagelink", "additional image link", "additionalimagelink"),
        *(
            "additional image links",
            "additionalimagelinks",
            "image url",
            "image urls",
            "imageurl",
            "image src",
        ),
        *("variant image", "image links", "imagelinks", "imageurls"),
        *("product image url", "variant image url", "picture", "pictures", "picture url", "photo", "photos"),
        *("photo url", "img", "imgurl", "imgurl alternative", "image path", "image file", "image name"),
        *("bild", "bilder", "bild url", "bildlink", "zusätzlicher bildlink", "produktbild", "foto", "fotos"),
        *("lien image", "url image", "imagen", "imágenes", "imagenes", "enlace imagen", "immagine"),
        *("immagini", "afbeelding", "画像", "画像url", "商品画像", "商品画像リンク"),
    ),
    "attributes.availability": (
        "availability",
        "verfügbarkeit",
        "disponibilité",
        "disponibilidad",
        "stock status",
        "disponibilità",
        "beschikbaarheid",
        "在庫状況",
    ),
    "attributes.brand": (
        "brand",
        "vendor",
        "manufacturer",
        "marke",
        "hersteller",
        "marque",
        "marca",
        "brands",
        "merk",
        "ブランド",
    ),
    "attributes.colour": ("colour", "color", "farbe", "couleur", "colore", "kleur", "色"),
    "attributes.gtin": (
        *("gtin", "ean", "upc", "isbn", "barcode", "gtin, upc, ean, or isbn", "variant barcode", "ean13"),
    ),
    "attributes.item_group_id": ("item group id", "itemgroupid", "item group", "itemgroup id"),
    "attributes.description": (
        *("description", "body (html)", "body html", "beschreibung", "descripción", "descrizione"),
        *("omschrijving", "商品説明"),
    ),
}
_KNOWN: Final = {name: field for field, names in _COMMON.items() for name in names}
#: Where several columns mean a field that has one value, the one that comes first here is taken.
_ORDER: Final = {name: n for names in _COMMON.values() for n, name in enumerate(names)}
#: Attributes of our own format whose names may be written in any case.
_OWN_ATTRIBUTES: Final = frozenset(("availability", "brand", "colour", "gtin", "item group id"))
#: Fields of our own format that are taken from columns with other names if it has no column of theirs.
SUBSTITUTED: Final = frozenset(("title", "images", "url"))
#: All columns that mean these are joined.
JOINED: Final = frozenset(("images", "tags"))


@dataclass(frozen=True, slots=True)
class Platform:
    """Who writes such files.

    Attributes:
        key: short name for programs.
        title: how people call it.
        signs: folded names of columns; a file of this platform has all of the first set, and one of the
            second.
        fields: what its columns mean where that differs from what others mean by them.
    """

    key: str
    title: str
    signs: tuple[frozenset[str], frozenset[str]]
    fields: Mapping[str, str]


VITRINE: Final = Platform("vitrine", "a Vitrine manifest", (frozenset(), frozenset()), {})
OTHER: Final = Platform("other", "a list of products", (frozenset(), frozenset()), {})
GOOGLE: Final = Platform(
    "google",
    "a Google Merchant feed",
    (
        frozenset(("id", "title")),
        frozenset(("image link", "imagelink", "bildlink", "lien image", "enlace imagen")),
    ),
    {"product type": "category", "google product category": "attributes.google_product_category"},
)
SHOPIFY: Final = Platform(
    "shopify",
    "a Shopify product export",
    (
        frozenset(("title",)),
        frozenset(
            ("body (html)", "variant sku", "variant price", "image src", "variant grams", "url handle")
        ),
    ),
    {
        "handle": "product_id",
        "url handle": "product_id",
        "sku": "attributes.sku",
        "variant sku": "attributes.sku",
        "product category": "attributes.product_category",
        "type": "category",
        "image src": "images",
        "product image url": "images",
        "variant image": "images",
        "variant image url": "images",
        "image position": IGNORE,
        "option1 name": IGNORE,
        "option1 value": IGNORE,
        "option2 name": IGNORE,
        "option2 value": IGNORE,
        "option3 name": IGNORE,
        "option3 value": IGNORE,
    },
)
WOOCOMMERCE: Final = Platform(
    "woocommerce",
    "a WooCommerce product export",
    (
        frozenset(("name",)),
        frozenset(("in stock?", "regular price", "visibility in catalog", "is featured?", "tax status")),
    ),
    {
        "id": "product_id",
        "sku": "attributes.sku",
        "type": "attributes.type",
        "name": "title",
        "regular price": "price",
        "categories": "category",
        "in stock?": "attributes.availability",
        "parent": "attributes.item_group_id",
        "external url": "url",
    },
)
_PLATFORMS: Final = (SHOPIFY, WOOCOMMERCE, GOOGLE)


def fold(column: str) -> str:
    """Return a column's name in NFC, without case, prefix ``g:`` and differences of its spaces."""
    name = unicodedata.normalize("NFC", column).strip().casefold().removeprefix("g:").removeprefix("google:")
    return _SPACES.sub(" ", name).strip()


def count_known(columns: Iterable[str]) -> int:
    """Return how many columns have a name that means a field."""
    return sum(fold(column) in _KNOWN for column in columns)


def platform_of(columns: Iterable[str]) -> Platform:
    """Return who wrote a file with these columns."""
    names = {fold(column) for column in columns}
    if "product id" in names:
        return VITRINE
    for platform in _PLATFORMS:
        every, some = platform.signs
        known = {to_english(name) for name in names} if platform is WOOCOMMERCE else names
        if every <= known and some & known:
            return platform
    return OTHER


def default_field(column: str, platform: Platform) -> str | None:
    """Return the field that a column of a platform means, None if none is known."""
    name = fold(column)
    if platform is WOOCOMMERCE:
        name = to_english(name)
    if name in platform.fields:
        return platform.fields[name]
    if platform is VITRINE:
        return _own_field(column, name)
    if (field := _KNOWN.get(name)) is not None:
        return field
    if price_currency(column) is not None:
        return "price"
    if _NUMBERED_IMAGE.fullmatch(name):
        return "images"
    return localised_field(column)


def _own_field(column: str, name: str) -> str | None:
    """Return what a column means in our own format, whose other columns are attributes by their names."""
    if name in FIELDS or name == "product id":
        return name.replace(" ", "_")
    if name in _OWN_ATTRIBUTES:
        return ATTRIBUTE + name.replace(" ", "_")
    if price_currency(column) is not None:
        return "price"
    if name == "image" or _NUMBERED_IMAGE.fullmatch(name):
        return "images"
    return localised_field(column)


def price_currency(column: str) -> str | None:
    """Return the currency that a column of prices names, as ``Price (EUR)`` and ``preis in €`` do."""
    found = _PRICE_CURRENCY.fullmatch(fold(column))
    if found is None or _KNOWN.get(found[1]) != "price":
        return None
    return SIGNS.get(found[2], found[2].upper())


def localised_field(column: str) -> str | None:
    """Return ``title_de`` or ``category_pt_BR`` for a column that means such a field, else None."""
    found = _LOCALE.fullmatch(column.strip())
    if found is None or fold(column) == "category id":
        return None
    field, language, region = found.groups()
    part = "" if region is None else f"_{region.upper() if len(region) == 2 else region}"
    return f"{field.lower()}_{language.lower()}{part}"


def common_field(column: str) -> str | None:
    """Return the field that a column means in most files, None if none is known."""
    return _KNOWN.get(fold(column))


def number_repeated(columns: Iterable[str]) -> list[str]:
    """Return columns of pictures that have one name with numbers: feeds repeat ``additional_image_link``."""
    counts: dict[str, int] = {}
    numbered: list[str] = []
    for column in columns:
        counts[column] = count = counts.get(column, 0) + 1
        is_repeated = count > 1 and common_field(column) == "images"
        numbered.append(f"{column} {count}" if is_repeated else column)
    return numbered


def is_header(cells: Iterable[str]) -> bool:
    """Return whether cells look like names of columns: one is an id, and another one is known too."""
    cells = list(cells)
    return count_known(cells) > 1 and any(common_field(cell) == "product_id" for cell in cells)


def rank(column: str) -> int:
    """Return the place of a column among those of one field; the lowest is taken."""
    return _ORDER.get(fold(column), len(_ORDER))
