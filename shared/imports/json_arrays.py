"""Find the array of products in a JSON document, which may hold it below other keys."""

from __future__ import annotations

import json
import re
from typing import Final

#: Keys of arrays of products, and of the objects around them, as the APIs of shops name them.
_PRODUCTS: Final = frozenset(("products", "produkte", "articles", "artikel", "offers", "goods"))
_CONTAINERS: Final = frozenset(
    (
        *(
            "items",
            "item",
            "data",
            "results",
            "result",
            "entries",
            "entry",
            "records",
            "rows",
            "hits",
            "list",
        ),
        *("catalogue", "catalog", "edges", "nodes", "feed", "channel", "rss", "shop", "response", "payload"),
        *("products", "value", "values", "content", "body", "collection"),
    )
)
#: Keys of a product; an object that has one before its first array is a product itself.
_IDS: Final = frozenset(("id", "product_id", "sku", "handle", "offerid", "title", "name"))
_MAX_DEPTH: Final = 8
_MAX_LEVEL_KEYS: Final = 200
_SPACE: Final = re.compile(r"[\s,]*")
_KEY: Final = re.compile(r'"((?:[^"\\]|\\.){0,200})"\s*:\s*')
_DECODER: Final = json.JSONDecoder()


def find_array(text: str) -> int | None:
    """Return the position behind the bracket that opens the array of products; None if there is none.

    Args:
        text: the beginning of a document.
    """
    at = _skip(text, 0)
    for _ in range(_MAX_DEPTH):
        if text.startswith("[", at):
            return at + 1
        if not text.startswith("{", at):
            return None
        found = _container(text, at + 1)
        if found is None:
            return None
        at = found
    return None


def is_spread_object(text: str) -> bool:
    """Return whether a document begins with an object that is spread over several lines."""
    lines = [line for line in map(str.strip, text[:100_000].splitlines()[:50]) if line]
    if not lines or not lines[0].startswith("{") or lines[0].rstrip(",").endswith("}"):
        return False
    return len(lines) > 1 and not lines[1].startswith("{")


def _container(text: str, at: int) -> int | None:
    """Return where the value begins that holds the products, among the values of an object."""
    is_product = False
    for _ in range(_MAX_LEVEL_KEYS):
        key = _KEY.match(text, _skip(text, at))
        if key is None:
            return None
        name, at = key[1].casefold(), key.end()
        opens = text[at : at + 1]
        if opens == "[" and (name in _PRODUCTS or (name in _CONTAINERS and not is_product)):
            inner = text[_skip(text, at + 1) :][:1]
            if inner in ("{", "]"):
                return at
        if opens == "{" and (name in _PRODUCTS or name in _CONTAINERS) and not is_product:
            return at
        is_product = is_product or name in _IDS
        try:
            at = _DECODER.raw_decode(text, at)[1]
        except (ValueError, RecursionError):
            return None
    return None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found is not None else at
