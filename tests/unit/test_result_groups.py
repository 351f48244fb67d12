"""Groups of a result page: how objects are named, and where products stop being similar."""

from __future__ import annotations

from decimal import Decimal

import pytest
from flask import Flask
from flask_babel import Babel

from shared.catalogue.shop_window import ShownFacts
from shared.contracts import FoundObject, Hit, SearchResult, WholeImage
from shared.contracts.search import PredictedCategory
from web.storefront.facets import list_facets, price_range
from web.storefront.groups import BEST_MATCH, WHOLE_BOX, Group, cut_cards, find_group, list_groups
from web.storefront.refining import Refinements


@pytest.fixture(autouse=True)
def _language() -> object:
    app = Flask("groups")
    Babel(app, locale_selector=lambda: "en")
    with app.test_request_context():
        yield


def hit(n: int, score: float, *, probability: float | None = None, category: str = "Chairs") -> Hit:
    return Hit(
        product_id=f"p{n}",
        score=score,
        probability=probability,
        image_id=f"i{n}",
        image_url=f"/v1/images/i{n}",
        title=f"Product {n}",
        category=category,
        price=Decimal(n),
        currency="EUR",
        url=None,
        box=None,
    )


def thing(*hits: Hit, category: str = "", share: float = 1.0) -> FoundObject:
    voted = PredictedCategory(value=category, confidence=share, given=False) if category else None
    return FoundObject(
        box=(0.1, 0.1, 0.5, 0.5), label="product", confidence=0.9, hits=[*hits], category=voted
    )


def named(*things: FoundObject) -> list[str]:
    result = SearchResult(
        query_id="q", catalogue="demo", objects=[*things], whole=WholeImage(hits=[]), timings_ms={}, models={}
    )
    return [group.name for group in list_groups(result, lambda category: category.upper())]


def test_an_object_has_the_name_of_its_best_match_or_of_its_category() -> None:
    sure, unsure = hit(1, 0.9, probability=BEST_MATCH), hit(2, 0.4, probability=BEST_MATCH - 0.01)
    assert named(thing(sure, category="Chairs"), thing(unsure, category="Chairs")) == [
        "Product 1",
        "CHAIRS",
        "Whole photo",
    ]
    long = sure.model_copy(update={"title": "A chair of solid oak with arms, in two colours"})
    assert named(thing(long, category="Chairs"))[0] == "CHAIRS"
    assert named(thing(unsure, category="Chairs", share=0.3), thing(unsure)) == [
        "Object 1",
        "Object 2",
        "Whole photo",
    ]
    assert named(thing(unsure, category="Lamps"), thing(unsure, category="Lamps"))[:2] == [
        "LAMPS 1",
        "LAMPS 2",
    ]
    assert named(thing(unsure))[0] == "Object"


def group(*scores: float) -> Group:
    return Group("whole", "", None, [hit(n, score) for n, score in enumerate(scores)], "cursor")


def test_cards_end_where_products_are_no_longer_similar() -> None:
    near = group(*[0.8] * 10, *[0.39] * 10)
    first = cut_cards(near, 24, with_rest=False)
    assert (len(first.hits), first.more, first.has_rest, first.next) == (10, 0, True, None)
    rest = cut_cards(near, 24, with_rest=True)
    assert (len(rest.hits), rest.more, rest.has_rest, rest.next) == (20, 0, False, "cursor")
    assert len(cut_cards(group(0.9, *[0.1] * 20), 24, with_rest=False).hits) == 8, "some are always shown"
    many = cut_cards(group(*[0.8] * 48), 24, with_rest=False)
    assert (len(many.hits), many.more, many.has_rest, many.next) == (24, 48, False, None)
    assert cut_cards(group(), 24, with_rest=False).hits == []


def test_a_group_is_found_by_its_box() -> None:
    groups = [Group("object-1", "", (0.1, 0.2, 0.5, 0.6), [], None), Group("whole", "", None, [], None)]
    assert find_group(groups, (0.1001, 0.2, 0.5, 0.5999)) is groups[0]
    assert find_group(groups, WHOLE_BOX) is groups[1]
    assert find_group(groups, (0.1, 0.2, 0.5, 0.7)) is None
    assert find_group(groups, None) is None


def test_facets_count_what_there_is_to_choose() -> None:
    hits = [hit(1, 0.9), hit(2, 0.8), hit(3, 0.7, category="Lamps")]
    facts = ShownFacts({"Lamps": "Lampen"}, {"p1": "Acme"}, {"i1": ("red", "blue"), "i2": ("red",), "i3": ()})
    facets = {facet.field: facet for facet in list_facets(hits, facts, Refinements(category="Beds"))}
    assert [(c.value, c.name, c.count, c.chosen) for c in facets["category"].choices] == [
        ("", "All", 0, False),
        ("Beds", "Beds", 0, True),
        ("Chairs", "Chairs", 2, False),
        ("Lamps", "Lampen", 1, False),
    ]
    assert [(c.value, c.count) for c in facets["colour"].choices] == [("", 0), ("red", 2), ("blue", 1)]
    assert "brand" not in facets, "there is one brand only"
    prices = price_range([(Decimal(3), "EUR"), (Decimal(9), "EUR"), (Decimal(1), "USD")])
    assert prices is not None
    assert (prices.currency, prices.least, prices.most) == ("EUR", Decimal(3), Decimal(9))
    assert price_range([]) is None
