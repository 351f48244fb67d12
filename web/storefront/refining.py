"""A reader's wishes: what a page's form asks for, and what an earlier search was asked with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import request

from shared.contracts import SearchOptions, SearchRequest
from shared.errors import InvalidInput
from web.http.bodies import form_fields
from web.http.errors import parsed

#: How an answer may be put in order; the first is how it comes.
SORTS = ("nearest", "cheapest", "dearest")
_PRICE = re.compile(r"^\d{1,12}(?:\.\d{1,4})?$")
_BETWEEN = re.compile(r"^(?:price >= (?P<least>[\d.]+))?(?: and )?(?:price <= (?P<most>[\d.]+))?$")
_BY_FORM = ("query_id", "product_id", "after", "catalogue", "locale", "category", "min_probability", "box")
#: From which probability on a match counts as likely.
LIKELY = 0.5

#: Products by which a search is steered, and the buttons that add one to either, or take it away.
_EXAMPLES = ("like", "unlike")
_PRESSED = ("more", "less", "drop")


@dataclass(frozen=True)
class Wishes:
    """How an answer is narrowed down; empty texts where a reader wishes nothing.

    Attributes:
        least, most: price as the catalogue has it, both included.
        likely: the least probability of a match, 0 where any is good.
        like, unlike: ids of the products that are examples of what is wanted, and of what is not.
    """

    category: str = ""
    least: str = ""
    most: str = ""
    likely: float = 0.0
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.category or self.least or self.most or self.likely or self.steered)

    @property
    def steered(self) -> bool:
        """Whether there are examples; scores then are no longer those of the photo, and nothing is likely."""
        return bool(self.like or self.unlike)

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
        likely = options.min_probability or 0.0
        return cls(options.category or "", least, most, likely, options.like, options.unlike)


def wanted_by_form() -> SearchRequest:
    """What the form of a page asks for: an earlier photo, a product or a further page again.

    Raises:
        InvalidInput: naming the field that is wrong.
    """
    fields = form_fields(lists=("box", *_EXAMPLES))
    wanted: dict[str, Any] = {name: fields[name] for name in _BY_FORM if name in fields}
    wishes = Wishes(least=_price(fields, "price_min"), most=_price(fields, "price_max"))
    if wishes.filter is not None:
        wanted["filter"] = wishes.filter
    examples = _examples(fields)
    if any(examples.values()):
        wanted |= examples
        wanted.pop("min_probability", None)  # of examples nobody knows how probable a hit is
    return parsed(SearchRequest, wanted)


def _examples(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """The examples there were, with the one that was pressed: it is added, changes sides, or goes."""
    pressed = {fields[name] for name in _PRESSED if name in fields}
    kept = {name: [each for each in fields.get(name, []) if each not in pressed] for name in _EXAMPLES}
    for name, button in zip(_EXAMPLES, _PRESSED, strict=False):
        kept[name] += [fields[button]] if button in fields else []
    return kept


def _price(fields: Mapping[str, Any], name: str) -> str:
    text = str(fields.get(name, "")).strip().replace(",", ".")
    if text and not _PRICE.match(text):
        raise InvalidInput("A price is a number, such as 49 or 49.90.", name)
    return text


def sort_wanted() -> str:
    """The order in which the address wants the answer."""
    wanted = request.args.get("sort", SORTS[0])
    return wanted if wanted in SORTS else SORTS[0]
