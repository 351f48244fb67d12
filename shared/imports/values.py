"""Understands values as people write them: currencies, availability, addresses of pages and pictures."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

#: Digits after the point of currencies that have not two (ISO 4217).
_DECIMALS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
#: Signs that one currency alone is written with. ``$`` and ``kr`` are not: several are.
SIGNS: Final = {
    "€": "EUR",
    "£": "GBP",
    "₹": "INR",
    "₺": "TRY",
    "₽": "RUB",
    "₩": "KRW",
    "zł": "PLN",
    "₴": "UAH",
    "₪": "ILS",
    "円": "JPY",
    "元": "CNY",
    "₫": "VND",
    "฿": "THB",
}
#: Signs that say nothing alone, and agree with these currencies.
SHARED_SIGNS: Final = {
    "$": frozenset(("USD", "CAD", "AUD", "NZD", "SGD", "HKD", "MXN", "ARS", "CLP", "COP", "TWD")),
    "kr": frozenset(("SEK", "NOK", "DKK", "ISK")),
    "kr.": frozenset(("SEK", "NOK", "DKK", "ISK")),
    "¥": frozenset(("JPY", "CNY")),
    "￥": frozenset(("JPY", "CNY")),
}
_NAMES: Final = {
    "EURO": "EUR",
    "EUROS": "EUR",
    "CHF.": "CHF",
    "FR.": "CHF",
    "FR": "CHF",
    "SFR.": "CHF",
    "TL": "TRY",
    "US$": "USD",
    "R$": "BRL",
    "A$": "AUD",
    "AU$": "AUD",
    "C$": "CAD",
    "CA$": "CAD",
    "S$": "SGD",
    "NZ$": "NZD",
    "HK$": "HKD",
    "NT$": "TWD",
    "MX$": "MXN",
    "KČ": "CZK",
    "FT": "HUF",
    "LEI": "RON",
    "ЛВ": "BGN",
    "ЛВ.": "BGN",
    "ГРН": "UAH",
    "ГРН.": "UAH",
    "РУБ": "RUB",
    "РУБ.": "RUB",
}
_CODE: Final = re.compile(r"[A-Z]{3}")

#: Folded words of shops, Google, schema.org and WooCommerce for what can be bought.
_AVAILABILITY: Final = {
    **dict.fromkeys(
        (
            "in stock",
            "instock",
            "1",
            "true",
            "yes",
            "available",
            "limitedavailability",
            "limited availability",
        ),
        "in_stock",
    ),
    **dict.fromkeys(
        ("auf lager", "lieferbar", "verfügbar", "en stock", "disponible", "disponibile"), "in_stock"
    ),
    **dict.fromkeys(
        (
            "out of stock",
            "outofstock",
            "0",
            "false",
            "no",
            "sold out",
            "soldout",
            "unavailable",
            "discontinued",
        ),
        "out_of_stock",
    ),
    **dict.fromkeys(
        ("nicht auf lager", "ausverkauft", "nicht lieferbar", "en rupture", "agotado"), "out_of_stock"
    ),
    **dict.fromkeys(("preorder", "pre order", "presale", "vorbestellbar"), "preorder"),
    **dict.fromkeys(
        ("backorder", "back order", "onbackorder", "backordered", "available for order"), "backorder"
    ),
}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20}):(?=//)")
_DRIVE: Final = re.compile(r"[A-Za-z]:[\\/]")
#: Between addresses in one cell: a comma, semicolon, line break or space before the next address.
_BETWEEN_ADDRESSES: Final = re.compile(r"(?<![\s,;|])[\s,;|]+(?=(?:[A-Za-z][A-Za-z0-9+.-]{1,20}:)?//)")


def currency_decimals(currency: str) -> int:
    """Return how many digits a currency has after the point."""
    return _DECIMALS.get(currency, 2)


def to_currency(text: str) -> str:
    """Return the code of a currency in any case, or by its sign. Raises ValueError with a sentence."""
    code = text.strip().upper()
    code = SIGNS.get(text.strip(), _NAMES.get(code, code))
    if _CODE.fullmatch(code) is None:
        raise ValueError(f"currency: {text[:60]!r} is no currency: write its three letters, such as EUR.")
    return code


def to_availability(value: Any) -> Any:
    """Return ``in_stock``, ``out_of_stock``, ``preorder`` or ``backorder``; other values as they are."""
    if isinstance(value, bool):
        return "in_stock" if value else "out_of_stock"
    if isinstance(value, int | float):
        return "in_stock" if value > 0 else "out_of_stock"
    if not isinstance(value, str):
        return value
    words = value.strip().casefold().rpartition("schema.org/")[2]
    return _AVAILABILITY.get(re.sub(r"[\s_\-]+", " ", words).strip(), value)


def to_page_address(text: str) -> str:
    """Return the address of a page, its scheme in small letters. Raises ValueError with a sentence."""
    address = with_scheme(text.strip())
    if _SCHEME.match(address) is None and (address.startswith("www.") or _looks_like_host(address)):
        raise ValueError(f"url: {text[:200]!r} is no address: begin it with https://.")
    return address


def _looks_like_host(text: str) -> bool:
    host = text.partition("/")[0]
    return "." in host and " " not in host and not host.startswith(".")


def with_scheme(text: str) -> str:
    """Return an address with its scheme in small letters; ``//cdn`` means https, as on a web page."""
    if text.startswith("//"):
        return "https:" + text
    if (scheme := _SCHEME.match(text)) is not None:
        return text[: scheme.end(1)].lower() + text[scheme.end(1) :]
    return text


def is_address(name: str) -> bool:
    """Whether a picture's name is an address of whatever scheme, not a file of the import."""
    return _SCHEME.match(name) is not None or name[:5].lower() == "data:"


def to_picture_name(text: str) -> str:
    """Return an address as ``with_scheme`` does, or a file's name with forward slashes."""
    name = with_scheme(text.strip())
    return name if is_address(name) or _DRIVE.match(name) else name.replace("\\", "/")


def split_pictures(text: str, separators: str) -> list[str]:
    """Return the names and addresses of pictures in one cell.

    Args:
        separators: what separates file names; addresses may be separated in other ways too.
    """
    if text[:5].lower() == "data:":
        return [text]
    parts = [text]
    for separator in separators:
        parts = [piece for part in parts for piece in part.split(separator)]
    pieces = [piece for part in parts for piece in _BETWEEN_ADDRESSES.split(part)]
    return [piece.strip() for piece in pieces if piece.strip(" ,;|\r\n\t")]


def missing_picture(name: str) -> str:
    """Return the sentence for a picture that is not among the files of an import, and why that may be."""
    shown = name[:200]
    if name[:5].lower() == "data:":
        return f"{name[:40]!r}... is a picture as text: save it as a file, and name the file."
    if (scheme := _SCHEME.match(name)) is not None:
        return f"{shown!r} is not fetched, for it begins with {scheme[1]}://: use an https:// address."
    if _DRIVE.match(name):
        return f"{shown!r} is a place on another computer: name the file relative to the manifest."
    last = name.rpartition("/www.")[2] if "/www." in name else name.removeprefix("www.")
    if last != name and "/" in last:
        return f"There is no file {shown!r} in the import. If it is an address, begin it with https://."
    return f"There is no file {shown!r} in the import."


def hostname(address: str) -> str | None:
    """Return the host of an address, None if it has none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
