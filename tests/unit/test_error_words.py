"""Every error has a sentence for readers, and a page says it in their language."""

from __future__ import annotations

import pytest

from shared.contracts import ErrorBody
from shared.errors import all_errors
from tests.web_builders import Shop, open_shop
from web.http.errors import STATUS
from web.i18n.error_texts import error_detail, error_text, error_texts


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(tmp_path_factory.mktemp("shop"))


def test_each_code_has_a_sentence_and_each_sentence_a_code(shop: Shop) -> None:
    with shop.app.test_request_context("/"):
        words = error_texts()
    ours = {code for code, kind in all_errors().items() if kind.__module__ == "shared.errors"}
    assert set(words) == ours == set(STATUS)
    assert all(sentence.endswith(".") for sentence in words.values())


def test_the_page_says_it_in_english_by_its_own_message(shop: Shop) -> None:
    body = ErrorBody(code="image_too_large", message="At most 50 million pixels.")
    with shop.app.test_request_context("/", headers={"Accept-Language": "en"}):
        assert error_text(body) == "At most 50 million pixels."
        assert error_detail(body) == ""


def test_in_other_languages_the_english_message_stands_below_where_it_adds_something(shop: Shop) -> None:
    with shop.app.test_request_context("/", headers={"Accept-Language": "de"}):
        words = error_texts()
        large = ErrorBody(code="image_too_large", message="At most 50 million pixels.")
        assert (error_text(large), error_detail(large)) == (words["image_too_large"], large.message)
        gone = ErrorBody(code="unknown_product", message="There is no product 'x'.")
        assert (error_text(gone), error_detail(gone)) == (words["unknown_product"], "")
        odd = ErrorBody(code="method_not_allowed", message="No.")
        assert error_text(odd) == words["internal"]


def test_the_api_keeps_english(shop: Shop) -> None:
    headers = {"Accept-Language": "de", "Accept": "application/json"}
    found = shop.client.get("/v1/tasks/unknown", headers=headers)
    assert found.status_code == 404
    with shop.app.test_request_context("/", headers=headers):
        assert found.json["error"]["message"] not in error_texts().values()
