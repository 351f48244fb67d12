"""A reader's wishes: what a page's form asks for, and what an earlier search was asked with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import request

from shared.contracts import SearchOptions, SearchRequest
from shared.errors import InvalidInput
from web.bodies import form_fields
from web.errors import parsed

#: How an answer may be put in order; the first is how it comes.
SORTS = ("nearest", "cheapest", "dearest")
_PRICE = re.compile(r"^\d{1,12}(?:\.\d{1,4})?$")
_BETWEEN = re.compile(r"^(?:price >= (?P<least>[\d.]+))?(?: and )?(?:price <= (?P<most>[\d.]+))?$")
_BY_FORM = ("query_id", "product_id", "after", "catalogue", "locale", "category")


@dataclass(frozen=True)
class Wishes:
    """How an answer is narrowed down; empty texts where a reader wishes nothing.

    Attributes:
        least, most: price as the catalogue has it, both included.
    """

    category: str = ""
    least: str = ""
    most: str = ""

    @property
    def any(self) -> bool:
        return bool(self.category or self.least or self.most)

    @property
    def filter(self) -> str | None:
        """The prices in the language of filters."""
        parts = [f"price >= {self.least}"] if self.least else []
        parts += [f"price <= {self.most}"] if self.most else []
        return " and ".join(parts) or None

    @classmethod
    def of(cls, options: SearchOptions) -> Wishes:
        """Read them back from a search; a filter that no page wrote is none of them."""
        found = _BETWEEN.match(options.filter or "")
        least, most = (found["least"] or "", found["most"] or "") if found else ("", "")
        return cls(options.category or "", least, most)


def wanted_by_form() -> SearchRequest:
    """What the form of a page asks for: an earlier photo, a product or a further page again.

    Raises:
        InvalidInput: naming the field that is wrong.
    """
    fields = form_fields(lists=("box",))
    wanted: dict[str, Any] = {name: fields[name] for name in _BY_FORM if name in fields}
    wishes = Wishes(least=_price(fields, "price_min"), most=_price(fields, "price_max"))
    if wishes.filter is not None:
        wanted["filter"] = wishes.filter
    if "box" in fields:
        wanted["box"] = fields["box"]
    return parsed(SearchRequest, wanted)


def _price(fields: Mapping[str, Any], name: str) -> str:
    text = str(fields.get(name, "")).strip().replace(",", ".")
    if text and not _PRICE.match(text):
        raise InvalidInput("A price is a number, such as 49 or 49.90.", name)
    return text


def sort_wanted() -> str:
    """The order in which the address wants the answer."""
    wanted = request.args.get("sort", SORTS[0])
    return wanted if wanted in SORTS else SORTS[0]
