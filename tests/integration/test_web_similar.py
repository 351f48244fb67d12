"""What resembles a product, asked for by its address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.web_builders import Shop, open_shop

SIMILAR = "/v1/catalogues/demo/products/chair-1/similar"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(Path(tmp_path_factory.mktemp("shop")))


def asked(shop: Shop, address: str) -> Any:
    answer = shop.client.get(address)
    assert answer.status_code == 202, answer.text
    task = (answer.json or {})["id"]
    assert answer.headers["Location"] == f"/v1/tasks/{task}"
    return shop.parts.searches.load_earlier(task)


def test_it_is_a_search_by_that_product_with_the_options_of_any(shop: Shop) -> None:
    plain = asked(shop, SIMILAR)
    assert (plain.source.product_id, plain.options.catalogue) == ("chair-1", "demo")
    wished = asked(
        shop, f"{SIMILAR}?top_k=4&filter=price+%3C+5&unlike=chair-1&locale=de&currency=EUR"
    ).options
    assert (wished.top_k, wished.filter, wished.unlike) == (4, "price < 5", ("chair-1",))
    assert (wished.locale, wished.currency) == ("de", "EUR")
    shop.answer_all()


@pytest.mark.parametrize(
    ("address", "status", "field"),
    [
        (SIMILAR.replace("chair-1", "nothing"), 404, "product_id"),
        (SIMILAR.replace("demo", "nowhere"), 404, "catalogue"),
        (f"{SIMILAR}?top_k=0", 422, "top_k"),
        (f"{SIMILAR}?top_k=1&top_k=2", 422, "top_k"),
        (f"{SIMILAR}?colour=red", 422, "colour"),
        (f"{SIMILAR}?query_id=00000000-0000-0000-0000-000000000000", 422, "image_url"),
    ],
)
def test_what_is_refused(shop: Shop, address: str, status: int, field: str) -> None:
    answer = shop.client.get(address)
    assert (answer.status_code, (answer.json or {})["error"]["field"]) == (status, field)


def test_it_is_in_the_document_and_counts_as_a_search(tmp_path: Path) -> None:
    shop = open_shop(tmp_path, search={"max_waiting": 1})
    path = "/v1/catalogues/{catalogue}/products/{product_id}/similar"
    assert path in (shop.client.get("/openapi.json").json or {})["paths"]
    assert shop.client.get(SIMILAR).status_code == 202
    assert shop.client.get(SIMILAR).status_code == 429
