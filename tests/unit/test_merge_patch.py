"""Partial changes of products: JSON Merge Patch."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from shared.catalogue.merge_patch import apply_patch
from shared.contracts import ProductIn

PRODUCT = ProductIn(
    titles={"en": "Lamp", "de": "Lampe"},
    category="Light",
    price=Decimal("19.50"),
    currency="EUR",
    tags=["new", "steel"],
    attributes={"size": {"w": 10, "h": 30}, "watts": 7},
)


def test_what_is_not_named_stays_and_objects_are_merged() -> None:
    changed = apply_patch(
        PRODUCT, {"price": "17.00", "titles": {"fr": "Lampe"}, "attributes": {"size": {"h": 31}}}
    )
    assert changed == PRODUCT.model_copy(
        update={
            "price": Decimal("17.00"),
            "titles": {"en": "Lamp", "de": "Lampe", "fr": "Lampe"},
            "attributes": {"size": {"w": 10, "h": 31}, "watts": 7},
        }
    )
    assert apply_patch(PRODUCT, {}) == PRODUCT


def test_null_takes_away_and_lists_are_replaced() -> None:
    changed = apply_patch(
        PRODUCT,
        {"price": None, "category": None, "titles": {"de": None}, "tags": ["old"], "attributes": None},
    )
    assert changed == ProductIn(titles={"en": "Lamp"}, currency="EUR", tags=["old"])


@pytest.mark.parametrize(
    "patch",
    [{"price": -1}, {"colour": "red"}, {"titles": "Lamp"}, {"tags": {"a": 1}}, {"titles": {"xx!": "L"}}],
)
def test_what_would_make_it_no_product_is_refused(patch: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        apply_patch(PRODUCT, patch)
