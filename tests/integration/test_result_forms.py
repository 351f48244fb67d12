"""Forms of result pages with values that no page wrote, or that were right when the page was loaded."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.database.tables import Search
from tests.web_builders import Shop, open_shop, result_of, upload

RATES = {"base": "EUR", "date": "2026-01-02", "source": "test", "rates": {"USD": "1.10"}}
DOLLARS = {"price_typed": "USD", "price_own": "EUR"}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    (tmp_path / "rates.json").write_text(json.dumps(RATES))
    return open_shop(tmp_path)


def search(shop: Shop) -> str:
    made = shop.client.post("/v1/searches", **upload(catalogue="demo"))
    shop.answer_all()
    return str((made.json or {})["id"])


def refine(shop: Shop, task: str, **fields: Any) -> Any:
    return shop.client.post("/s", data={"query_id": task, "catalogue": "demo", **fields})


def last_filter(shop: Shop) -> str:
    with shop.parts.database.read() as session:
        row = session.query(Search).order_by(Search.created_at.desc()).first()
        assert row is not None
        return str(row.options["filter"])


@pytest.mark.parametrize(
    "currencies",
    [
        {"price_typed": "QQQ", "price_own": "EUR"},
        {"price_typed": "USD", "price_own": "QQQ"},
        {"price_typed": "$" * 3000, "price_own": "EUR"},
    ],
)
def test_a_price_in_a_currency_without_a_rate_is_refused(shop: Shop, currencies: dict[str, str]) -> None:
    task = search(shop)
    answer = refine(shop, task, price_max="11", **currencies)
    assert (answer.status_code, "no rate" in answer.text) == (422, True), "not taken as euros"
    assert len(answer.text) < 1000
    assert refine(shop, task, **currencies).status_code == 303, "there is no price to convert"
    assert refine(shop, task, price_max="11", **DOLLARS).status_code == 303
    assert last_filter(shop) == "price <= 10"
    same = {"price_typed": "EUR", "price_own": "EUR"}
    assert refine(shop, task, price_max="11", **same).status_code == 303
    assert last_filter(shop) == "price <= 11"


def test_a_group_without_prices_sends_the_currency_in_which_its_form_shows_the_filter(shop: Shop) -> None:
    task = search(shop)
    refined = refine(shop, task, price_max="11", **DOLLARS).headers["Location"]
    desk = shop.desk()
    made = []
    for claim in desk.claim(10):
        result = result_of(claim)
        hit = result.whole.hits[0].model_copy(update={"price": Decimal(9), "currency": "EUR"})
        whole = result.whole.model_copy(update={"hits": [hit]})
        objects = [thing.model_copy(update={"hits": []}) for thing in result.objects]
        made.append((claim, result.model_copy(update={"whole": whole, "objects": objects})))
    desk.answer(made)
    page = shop.client.get(refined + "?currency=USD", headers={"Accept": "text/html"}).text
    forms = re.findall(r'<form id="refine-[^"]*".*?</form>', page, re.DOTALL)
    assert len(forms) > 1
    for form in forms:
        assert re.search(r'name="price_max" value="11(\.0+)?"', form), "in dollars"
        assert 'name="price_typed" value="USD"' in form
        assert 'name="price_own" value="EUR"' in form


@pytest.mark.parametrize("of", ["x" * 5000, "//evil.example", "\r\nSet-Cookie: a=b", "{task}"])
def test_an_address_keeps_what_pages_write_alone(shop: Shop, of: str) -> None:
    task = search(shop)
    answer = refine(shop, task, of=of.format(task=task), sort="x" * 5000)
    assert answer.status_code == 303
    kept = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert kept == ({"of": [task]} if of == "{task}" else {})
    cheapest = refine(shop, task, sort="cheapest").headers["Location"]
    assert parse_qs(urlsplit(cheapest).query) == {"sort": ["cheapest"]}
