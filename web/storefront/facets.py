"""The facets of an object's hits: categories, colours, brands and prices, each value with its count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from flask_babel import gettext as _

from shared.catalogue.shop_window import ShownFacts
from shared.contracts import Hit
from web.i18n.money import convert_amount, shown_currency
from web.storefront.refining import Refinements

#: Values of a facet that are shown, most frequent first.
_MAX_VALUES = 12


@dataclass(frozen=True)
class Choice:
    """A value that the shopper may choose.

    Attributes:
        value: the value in the form; empty: all products.
        count: number of hits with it, 0 where it is not known.
    """

    value: str
    name: str
    count: int
    chosen: bool


@dataclass(frozen=True)
class Facet:
    """A field of the form with its values.

    Attributes:
        field: name in the form.
        is_colour: values are names of colours.
    """

    field: str
    name: str
    choices: Sequence[Choice]
    is_colour: bool = False


@dataclass(frozen=True)
class PriceRange:
    """The lowest and the highest price of the hits in ``currency``."""

    currency: str
    least: Decimal
    most: Decimal

    def shown(self) -> PriceRange:
        """Return the range in the reader's currency."""
        target = shown_currency(self.currency)
        least, most = (convert_amount(amount, self.currency, target) for amount in (self.least, self.most))
        return self if least is None or most is None else PriceRange(target, least, most)


def list_facets(hits: Sequence[Hit], facts: ShownFacts, chosen: Refinements) -> list[Facet]:
    """List the facets that have something to choose.

    Args:
        hits: the hits of one group without these refinements, as far as known.
        facts: colours, brands and category names of the hits.
        chosen: the values to show as chosen.
    """
    categories = Counter(hit.category for hit in hits if hit.category)
    colours = Counter(colour for hit in hits for colour in facts.colours.get(hit.image_id, ()))
    brands = Counter(facts.brands[hit.product_id] for hit in hits if hit.product_id in facts.brands)
    colour_texts = colour_names()
    return [
        facet
        for facet in (
            _facet("category", _("Category"), categories, chosen.category, facts.category_names),
            _facet("colour", _("Colour"), colours, chosen.colour, colour_texts, is_colour=True),
            _facet("brand", _("Brand"), brands, chosen.brand, {}),
        )
        if len(facet.choices) > 2 or any(choice.chosen and choice.value for choice in facet.choices)
    ]


def _facet(
    field: str,
    name: str,
    counts: Counter[str],
    chosen: str,
    names: dict[str, str],
    *,
    is_colour: bool = False,
) -> Facet:
    values = [value for value, _count in counts.most_common(_MAX_VALUES)]
    if chosen and chosen not in values:
        values.insert(0, chosen)
    choices = [Choice(value, names.get(value, value), counts[value], value == chosen) for value in values]
    return Facet(field, name, [Choice("", _("All"), 0, not chosen), *choices], is_colour)


def price_range(prices: Iterable[tuple[Decimal, str]]) -> PriceRange | None:
    """Return the range of prices in the most frequent currency, None without prices."""
    listed = list(prices)
    if not listed:
        return None
    currency = Counter(code for _amount, code in listed).most_common(1)[0][0]
    amounts = [amount for amount, code in listed if code == currency]
    return PriceRange(currency, min(amounts), max(amounts))


def colour_names() -> dict[str, str]:
    """Return the names of the filter language's colours for the reader."""
    return {
        "black": _("Black"),
        "white": _("White"),
        "grey": _("Grey"),
        "red": _("Red"),
        "orange": _("Orange"),
        "yellow": _("Yellow"),
        "green": _("Green"),
        "blue": _("Blue"),
        "purple": _("Purple"),
        "pink": _("Pink"),
        "brown": _("Brown"),
    }
