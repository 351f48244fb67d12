"""Boosts and predicted categories in answers; on a real database and image store."""

from __future__ import annotations

from typing import Any

import pytest

from shared.catalogue.ranking import RankingRepository
from shared.contracts import SearchResult
from shared.contracts.search import Boost, Hit
from shared.errors import InvalidInput
from tests.packing import pictures
from tests.shop import Shop, found

pytestmark = pytest.mark.slow

PHOTO = pictures(8)["p7.jpg"]
ODD = {"filter": 'category = "odd"', "factor": 1.5}


@pytest.fixture
def filled(shop: Shop) -> Shop:
    rows = ["product_id,title,category,price,images"]
    rows += [f"p{n},Chair {n},{'odd' if n % 2 else 'even'},{n},p{n}.jpg" for n in range(40)]
    shop.import_files({**pictures(40), "manifest.csv": "\n".join(rows)})
    assert shop.rows() == 40
    return shop


def order(hits: list[Hit]) -> list[tuple[float, str]]:
    return sorted((-h.explanation.ordered_by, h.product_id) for h in hits if h.explanation is not None)


def page_after(shop: Shop, first: SearchResult, after: str, **options: Any) -> SearchResult:
    known = shop.searches.load_earlier(first.query_id)
    wanted = {**known.options.model_dump(), "after": after, **options}
    status = shop.answered(shop.accept_search(asked=known.source, **wanted))
    assert status.result is not None, status
    return status.result


def all_pages(shop: Shop, first: SearchResult) -> list[str]:
    products, after = found(first), first.whole.next
    while after is not None:
        page = page_after(shop, first, after)
        products += found(page)
        after = page.whole.next
    return products


def test_boosts_change_the_order_and_say_so(filled: Shop) -> None:
    plain = filled.search(PHOTO, top_k=40)
    assert all(hit.explanation is None for hit in plain.whole.hits)

    boosted = filled.search(PHOTO, top_k=40, boosts=[ODD, {"filter": "price < 10", "factor": 0.5}])
    hits = boosted.whole.hits
    assert sorted(found(boosted)) == sorted(found(plain)), "a boost leaves nothing out"
    assert found(boosted) != found(plain)
    assert [hit.product_id for hit in hits] == [product for _, product in order(hits)]
    scores = {hit.product_id: hit.score for hit in plain.whole.hits}
    for hit in hits:
        assert hit.score == scores[hit.product_id], "what is shown as score stays the score"
        assert hit.explanation is not None
        number, factor = int(hit.product_id[1:]), 1.0
        said = [boost.filter for boost in hit.explanation.boosts]
        assert said == [ODD["filter"]] * (number % 2) + ["price < 10"] * (number < 10)
        for boost in hit.explanation.boosts:
            factor *= boost.factor
        assert hit.explanation.ordered_by == pytest.approx(hit.score * factor, abs=1e-4)


def test_many_boosts_come_to_twice_the_score_at_most(filled: Shop) -> None:
    result = filled.search(PHOTO, top_k=5, boosts=[{"filter": "price >= 0", "factor": 2.0}] * 3)
    for hit in result.whole.hits:
        assert hit.explanation is not None
        assert hit.explanation.ordered_by == pytest.approx(2 * hit.score, abs=1e-4)


@pytest.mark.parametrize("top_k", [3, 9])
def test_pages_of_a_boosted_search_neither_repeat_nor_skip(filled: Shop, top_k: int) -> None:
    first = filled.search(PHOTO, top_k=top_k, boosts=[{"filter": "price >= 20", "factor": 1.9}])
    products = all_pages(filled, first)
    assert len(products) == len(set(products)) == 40
    # Only what was near enough to be fetched for the first page is moved: here 32, or 36 of 40.
    plain = found(filled.search(PHOTO, top_k=40))
    assert set(products[:32]) == set(plain[:32]) or top_k == 9
    assert products != plain


def test_a_catalogue_boosts_unless_a_search_says_otherwise(filled: Shop) -> None:
    plain = found(filled.search(PHOTO, top_k=40))
    owner = RankingRepository(filled.worker.database)
    assert owner.boosts("shop").boosts == ()
    owner.set_boosts("shop", [Boost.model_validate(ODD)])
    assert found(filled.search(PHOTO, top_k=40)) == found(filled.search(PHOTO, top_k=40, boosts=[ODD]))
    assert found(filled.search(PHOTO, top_k=40)) != plain
    assert found(filled.search(PHOTO, top_k=40, boosts=[])) == plain
    with pytest.raises(InvalidInput):
        owner.set_boosts("shop", [Boost(filter="price <", factor=1.5)])
    assert len(owner.boosts("shop").boosts) == 1
    owner.set_boosts("shop", [])
    assert found(filled.search(PHOTO, top_k=40)) == plain


def test_the_category_is_told_and_filters_nothing(filled: Shop) -> None:
    result = filled.search(PHOTO)
    told = result.whole.category
    assert told is not None
    assert (told.value, told.given) == ("odd", False), "p7 itself is the nearest by far"
    assert 0.5 < told.confidence <= 1
    assert {hit.category for hit in result.whole.hits} == {"odd", "even"}
    # One shown hit does not make it surer: those behind it vote too.
    short = filled.search(PHOTO, top_k=1).whole.category
    assert short == told

    other = filled.search(PHOTO, category="even")
    assert {hit.category for hit in other.whole.hits} == {"even"}
    assert other.whole.category is not None
    assert (other.whole.category.value, other.whole.category.given) == ("even", True)

    assert result.whole.next is not None
    assert page_after(filled, result, result.whole.next).whole.category is None
