"""A search that asks for a currency: its prices in it, the shop's own beside them, and the rates' day."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import app
from shared.contracts import SearchResult, TaskStatus
from shared.errors import InvalidInput
from tests.servers import wait_for
from tests.web_builders import Shop, open_shop, picture, result_of, serving, upload

RATES = {"base": "EUR", "date": "2026-01-02", "source": "test", "rates": {"USD": "1.10", "JPY": "160"}}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "rates.json").write_text(json.dumps(RATES))
    return open_shop(folder)


def answer(shop: Shop, price: str | None, currency: str | None) -> None:
    """Answer what waits with the one product at a price."""
    desk = shop.desk()
    made = []
    for claim in desk.claim(100):
        result = result_of(claim)
        hit = result.whole.hits[0].model_copy(
            update={"price": None if price is None else Decimal(price), "currency": currency}
        )
        whole = result.whole.model_copy(update={"hits": [hit]})
        objects = [thing.model_copy(update={"hits": [hit]}) for thing in result.objects]
        made.append((claim, result.model_copy(update={"whole": whole, "objects": objects})))
    desk.answer(made)


def search(shop: Shop, price: str | None, own: str | None, **options: Any) -> SearchResult:
    asked = shop.client.post("/v1/searches", **upload(catalogue="demo", **options))
    assert asked.status_code == 202, asked.json
    answer(shop, price, own)
    status = shop.client.get(asked.headers["Location"]).json
    result = TaskStatus.model_validate(status).result
    assert result
    return result


def test_prices_are_in_the_asked_currency_with_the_shops_own_beside_them(shop: Shop) -> None:
    result = search(shop, "19.99", "EUR", currency="JPY")
    for hit in (result.whole.hits[0], result.objects[0].hits[0]):
        assert (hit.price, hit.currency) == (Decimal("3198"), "JPY")
        assert (hit.price_original, hit.currency_original) == (Decimal("19.99"), "EUR")
    assert str(result.rates_date) == "2026-01-02"


@pytest.mark.parametrize(
    ("price", "currency", "asked"),
    [("19.99", "EUR", {}), ("19.99", "USD", {"currency": "USD"}), (None, None, {"currency": "USD"})],
)
def test_prices_stay_where_nothing_is_to_be_converted(
    shop: Shop, price: str | None, currency: str | None, asked: dict[str, str]
) -> None:
    result = search(shop, price, currency, **asked)
    hit = result.whole.hits[0]
    assert (hit.price, hit.currency) == (None if price is None else Decimal(price), currency)
    assert (hit.price_original, hit.currency_original, result.rates_date) == (None, None, None)


def test_a_price_without_a_rate_stays_as_the_shop_has_it(shop: Shop) -> None:
    hit = search(shop, "5", "NOK", currency="USD").whole.hits[0]
    assert (hit.price, hit.currency, hit.price_original) == (Decimal(5), "NOK", None)


@pytest.mark.parametrize(("code", "words"), [("NOK", "no rate for NOK"), ("usd", "pattern")])
def test_a_currency_without_a_rate_is_refused(shop: Shop, code: str, words: str) -> None:
    refused = shop.client.post("/v1/searches", **upload(catalogue="demo", currency=code))
    assert (refused.status_code, refused.json["error"]["field"]) == (422, "currency")
    assert words in refused.json["error"]["message"]


def test_the_events_of_a_search_say_the_same_as_polling(shop: Shop) -> None:
    asked = shop.client.post("/v1/searches", **upload(catalogue="demo", currency="USD"))
    answer(shop, "10", "EUR")
    told = shop.client.get(asked.headers["Location"] + "/events").text
    last = json.loads(told.rsplit("data: ", 1)[1])
    assert last["result"]["whole"]["hits"][0]["price"] == "11.00"
    assert last["result"] == shop.client.get(asked.headers["Location"]).json["result"]


@pytest.mark.parametrize("form", ["--json", "--no-detect"])
def test_the_command_asks_for_a_currency(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(picture())

    def stand_for_the_worker() -> None:
        wait_for("a search waits", lambda: shop.parts.searches.count_waiting() or None)
        answer(shop, "19.99", "EUR")

    with serving(shop) as address:
        monkeypatch.setenv("VITRINE_URL", address)
        worker = threading.Thread(target=stand_for_the_worker, daemon=True)
        worker.start()
        words = ["search", str(photo), "--currency", "JPY", form]
        shown = CliRunner().invoke(app, words, standalone_mode=False, catch_exceptions=False)
        worker.join()
    if form == "--json":
        hit = json.loads(shown.stdout)["whole"]["hits"][0]
        assert (hit["price"], hit["currency"], hit["price_original"]) == ("3198", "JPY", "19.99")
    else:
        assert "3198 JPY" in shown.stdout


def test_the_command_passes_an_address_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the server fetches it is the operator's to say; here it must not."""
    with serving(shop) as address:
        monkeypatch.setenv("VITRINE_URL", address)
        words = ["search", "--url", "https://shop.example/chair.jpg"]
        with pytest.raises(InvalidInput, match="URL import is off"):
            CliRunner().invoke(app, words, standalone_mode=False, catch_exceptions=False)
