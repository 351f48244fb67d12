"""Refinements of a search: read them from a page's form or from an earlier search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import request

from shared.contracts import SearchOptions, SearchRequest
from shared.errors import InvalidInput
from web.http.bodies import parse_model, read_form

#: Sort orders of a result; the first is the default.
SORTS = ("nearest", "cheapest", "dearest")  # prose: ignore (in shared links)
_PRICE = re.compile(r"^\d{1,12}(?:\.\d{1,4})?$")
_PRICE_RANGE = re.compile(r"^(?:price >= (?P<minimum>[\d.]+))?(?: and )?(?:price <= (?P<maximum>[\d.]+))?$")
_FORM_FIELDS = (
    "query_id",
    "product_id",
    "after",
    "catalogue",
    "locale",
    "category",
    "min_probability",
    "box",
)
#: Minimum probability of a likely match.
LIKELY = 0.5

#: Example fields of a search, and the buttons that add an example to either or remove it.
_EXAMPLES = ("like", "unlike")
_EXAMPLE_BUTTONS = ("more", "less", "drop")


@dataclass(frozen=True)
class Refinements:
    """Refinements of a search; empty texts mean none.

    Attributes:
        min_price, max_price: inclusive, in the catalogue's currency.
        min_probability: minimum probability of a match, 0 for all matches.
        like, unlike: product ids of positive and negative examples.
    """

    category: str = ""
    min_price: str = ""
    max_price: str = ""
    min_probability: float = 0.0
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    @property
    def is_set(self) -> bool:
        """Whether there is any refinement."""
        return bool(
            self.category or self.min_price or self.max_price or self.min_probability or self.has_examples
        )

    @property
    def has_examples(self) -> bool:
        """Whether there are examples; hits then have no probabilities, because scores mix several vectors."""
        return bool(self.like or self.unlike)

    @property
    def filter(self) -> str | None:
        """The price range as a filter expression, None without prices."""
        parts = [f"price >= {self.min_price}"] if self.min_price else []
        parts += [f"price <= {self.max_price}"] if self.max_price else []
        return " and ".join(parts) or None

    @classmethod
    def from_options(cls, options: SearchOptions) -> Refinements:
        """Read the refinements of a search; filters that no page wrote are ignored."""
        prices = _PRICE_RANGE.match(options.filter or "")
        minimum, maximum = (prices["minimum"] or "", prices["maximum"] or "") if prices else ("", "")
        probability = options.min_probability or 0.0
        return cls(options.category or "", minimum, maximum, probability, options.like, options.unlike)


def read_search_form() -> SearchRequest:
    """Read a search by an earlier photo, a product or a cursor from a page's form.

    Raises:
        InvalidInput: names the invalid field.
    """
    fields = read_form(lists=("box", *_EXAMPLES))
    search: dict[str, Any] = {name: fields[name] for name in _FORM_FIELDS if name in fields}
    prices = Refinements(
        min_price=_read_price(fields, "price_min"), max_price=_read_price(fields, "price_max")
    )
    if prices.filter is not None:
        search["filter"] = prices.filter
    examples = _read_examples(fields)
    if any(examples.values()):
        search |= examples
        search.pop("min_probability", None)  # searches by example have no probabilities
    return parse_model(SearchRequest, search)


def _read_examples(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """Read the current examples and apply the pressed button: add, move or remove one."""
    pressed = {fields[name] for name in _EXAMPLE_BUTTONS if name in fields}
    examples = {name: [each for each in fields.get(name, []) if each not in pressed] for name in _EXAMPLES}
    for name, button in zip(_EXAMPLES, _EXAMPLE_BUTTONS, strict=False):
        examples[name] += [fields[button]] if button in fields else []
    return examples


def _read_price(fields: Mapping[str, Any], name: str) -> str:
    text = str(fields.get(name, "")).strip().replace(",", ".")
    if text and not _PRICE.match(text):
        raise InvalidInput("A price is a number, such as 49 or 49.90.", name)
    return text


def read_sort() -> str:
    """Read the sort order from the URL."""
    sort = request.args.get("sort", SORTS[0])
    return sort if sort in SORTS else SORTS[0]
