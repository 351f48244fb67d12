"""Refinements of a search: read them from a page's form or from an earlier search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from flask import request

from shared.contracts import SearchOptions, SearchRequest
from shared.errors import InvalidInput, VitrineError
from shared.filters import Filter, format_filter, parse
from shared.filters.tree import COLOUR, PRICE, AllOf, Compare, Is
from web.http.bodies import parse_model, read_form
from web.i18n.money import convert_amount
from web.storefront.groups import PAGE_CARDS, TOP_K

#: Sort orders of a result; the first is the default.
SORTS = ("nearest", "cheapest", "dearest")  # prose: ignore (in shared links)
_PRICE = re.compile(r"^\d{1,12}(?:\.\d{1,4})?$")
_SEARCH_ID = re.compile(r"[0-9a-f-]{36}")
_BRAND = ("attributes", "brand")
_FORM_FIELDS = (
    "query_id",
    "image_url",
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
        min_price, max_price: inclusive, in the currency of the catalogue's prices.
        colour, brand: exact values.
        min_probability: minimum probability of a match, 0 for all matches.
        like, unlike: product ids of positive and negative examples.
    """

    category: str = ""
    min_price: str = ""
    max_price: str = ""
    colour: str = ""
    brand: str = ""
    min_probability: float = 0.0
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of filters that are set; examples are listed apart."""
        prices = bool(self.min_price or self.max_price)
        return prices + sum(map(bool, (self.category, self.colour, self.brand, self.min_probability)))

    @property
    def is_set(self) -> bool:
        """Whether there is any refinement."""
        return bool(self.count or self.has_examples)

    @property
    def has_examples(self) -> bool:
        """Whether there are examples; hits then have no probabilities, because scores mix several vectors."""
        return bool(self.like or self.unlike)

    @property
    def filter(self) -> str | None:
        """Prices, colour and brand as a filter expression, None without any."""
        parts: list[Filter] = [Compare(PRICE, ">=", float(self.min_price))] if self.min_price else []
        parts += [Compare(PRICE, "<=", float(self.max_price))] if self.max_price else []
        parts += [Is(path, (text,)) for path, text in ((COLOUR, self.colour), (_BRAND, self.brand)) if text]
        return format_filter(AllOf(tuple(parts))) if parts else None

    @classmethod
    def from_options(cls, options: SearchOptions) -> Refinements:
        """Read the refinements of a search; filters that no page wrote are ignored."""
        read = _read_filter(options.filter)
        return cls(
            category=options.category or "",
            min_probability=options.min_probability or 0.0,
            like=options.like,
            unlike=options.unlike,
            **read,
        )


def _read_filter(text: str | None) -> dict[str, str]:
    """Return what ``Refinements.filter`` wrote, by attribute."""
    if text is None:
        return {}
    try:
        tree = parse(text)
    except VitrineError:
        return {}
    read: dict[str, str] = {}
    for part in tree.parts if isinstance(tree, AllOf) else (tree,):
        match part:
            case Compare(path=path, order=">=", value=float() | int() as value) if path == PRICE:
                read["min_price"] = _as_text(Decimal(str(value)))
            case Compare(path=path, order="<=", value=float() | int() as value) if path == PRICE:
                read["max_price"] = _as_text(Decimal(str(value)))
            case Is(path=path, values=(value,)) if path == COLOUR:
                read["colour"] = str(value)
            case Is(path=path, values=(value,)) if path == _BRAND:
                read["brand"] = str(value)
            case _:
                return {}
    return read


def read_search_form() -> SearchRequest:
    """Read a search by an earlier photo, a product or a cursor from a page's form.

    Raises:
        InvalidInput: names the invalid field.
    """
    fields = read_form(lists=("box", *_EXAMPLES))
    search: dict[str, Any] = {name: fields[name] for name in _FORM_FIELDS if fields.get(name)}
    search.setdefault("top_k", TOP_K)
    minimum, maximum = _read_prices(fields)
    written = Refinements(
        min_price=minimum,
        max_price=maximum,
        colour=str(fields.get("colour", "")),
        brand=str(fields.get("brand", "")),
    )
    if written.filter is not None:
        search["filter"] = written.filter
    examples = _read_examples(fields)
    if any(examples.values()):
        search |= examples
        search.pop("min_probability", None)  # searches by example have no probabilities
    return parse_model(SearchRequest, search)


def _read_prices(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return the lowest and the highest price in the catalogue's currency; exchanged prices are put right."""
    prices = [_read_price(fields, name) for name in ("price_min", "price_max")]
    if all(prices) and Decimal(prices[0]) > Decimal(prices[1]):
        prices.reverse()
    typed, own = (str(fields.get(name, "")) for name in ("price_typed", "price_own"))
    if typed and own and typed != own and any(prices) and convert_amount(Decimal(1), typed, own) is None:
        raise InvalidInput(
            f"There is no rate from {typed[:8]} to {own[:8]} any more. Load the result again, and enter the "
            "price in the currency that it shows.",
            "price_typed",
        )
    lowest, highest = (convert_text(price, typed, own) for price in prices)
    return lowest, highest


def convert_text(price: str, source: str, target: str) -> str:
    """Convert a price in a form from one currency to another; leave it if there is no rate."""
    if not price:
        return ""
    converted = convert_amount(Decimal(price), source, target)
    return price if converted is None else _as_text(converted)


def _as_text(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _read_examples(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """Read the current examples and apply the pressed button: add, move or remove one."""
    pressed = {fields[name] for name in _EXAMPLE_BUTTONS if name in fields}
    examples = {name: [each for each in fields.get(name, []) if each not in pressed] for name in _EXAMPLES}
    for name, button in zip(_EXAMPLES, _EXAMPLE_BUTTONS, strict=False):
        examples[name] += [fields[button]] if button in fields else []
    return examples


def _read_price(fields: Mapping[str, Any], name: str) -> str:
    text = "".join(str(fields.get(name, "")).split()).replace(",", ".")
    if text and not _PRICE.match(text):
        raise InvalidInput("A price is a number, such as 49 or 49.90.", name)
    return text


@dataclass(frozen=True)
class View:
    """What the address of a result asks to see of it.

    Attributes:
        root_id: the first search, which this one refines.
        sort: one of SORTS.
        shown: number of cards in each group.
        with_rest: less similar products too.
    """

    root_id: str | None = None
    sort: str = SORTS[0]
    shown: int = PAGE_CARDS
    with_rest: bool = False


def kept_arguments() -> dict[str, str]:
    """Return the fields of a form that go into the address of its result; other values are left out."""
    kept = {name: request.form.get(name, "") for name in ("of", "sort")}
    is_valid = {"of": bool(_SEARCH_ID.fullmatch(kept["of"])), "sort": kept["sort"] in SORTS}
    return {name: value for name, value in kept.items() if is_valid[name]}


def read_view() -> View:
    """Read the view from the address; values that no page wrote count as not given."""
    args = request.args
    sort = args.get("sort", SORTS[0])
    shown = args.get("show", PAGE_CARDS, type=int)
    return View(
        args.get("of"),
        sort if sort in SORTS else SORTS[0],
        min(max(shown, PAGE_CARDS), TOP_K),
        args.get("rest") == "1",
    )
