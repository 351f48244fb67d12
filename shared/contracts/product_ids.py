"""Which texts may be product ids: any that a person can see and an address can carry."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

#: Of a product id, in bytes of UTF-8, which is what the index counts.
MAX_ID_BYTES: Final = 128
_INVISIBLE: Final = ("Cc", "Cs", "Zl", "Zp")


def find_id_error(product_id: str) -> str | None:
    """Return the error of an id as a sentence, None if it is valid.

    Addresses escape every character but the path parts ``.`` and ``..``, which browsers and proxies drop.
    """
    shown = f"{product_id[:80]!r} is no product id:"
    if (size := len(product_id.encode(errors="replace"))) > MAX_ID_BYTES:
        return f"{shown} it has {size} bytes, and {MAX_ID_BYTES} is the limit."
    if any(unicodedata.category(char) in _INVISIBLE for char in product_id):
        return f"{shown} it has line breaks or other control characters."
    if {".", ".."} & set(product_id.split("/")):
        return f"{shown} addresses cannot hold the parts `.` and `..`: write it in another way."
    if product_id != product_id.strip():
        return f"{shown} it begins or ends with a space: take it away."
    return None


def _fits(product_id: str) -> str:
    if len(product_id.encode(errors="replace")) > MAX_ID_BYTES or "\0" in product_id:
        raise ValueError(f"at most {MAX_ID_BYTES} bytes, without NUL characters")
    return product_id


def _is_new(product_id: str) -> str:
    if (wrong := find_id_error(product_id)) is not None:
        raise ValueError(wrong.removesuffix("."))
    return product_id


#: Of a product that may exist already, under the rules of an older version.
ProductId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_BYTES), AfterValidator(_fits)]
#: Of a product that is written.
NewProductId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID_BYTES), AfterValidator(_is_new)
]
