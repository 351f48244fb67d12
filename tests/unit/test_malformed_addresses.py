"""Malformed addresses are invalid input wherever one is read, and never an error of the program."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from shared.contracts import ProductIn
from shared.errors import InvalidInput, Refused, VitrineError
from shared.imports.addresses import Fetcher, WithAddresses
from shared.imports.sources import NoSource
from shared.net.addresses import join_address, parse_web_address
from shared.net.url_fetch import resolve_target
from shared.webhooks.addresses import webhook_target

MALFORMED = [
    "http://[",
    "https://[cdn]/a.jpg",
    "http://[::1/a",
    "http://]/",
    "https://[fe80::zz]/",
    "http://[1.2.3.4]/",
    "http://",
    "https:///a.jpg",
    "http://:80/",
    "http://?a",
    "http://shop.example:99999/",
    "http://shop.example:-1/",
    "http://shop.example:port/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "ä" * 64 + ".example/",
    "http://" + "a." * 130 + "example/",
    "http://a..example/",
    "http://.example/",
    "http://\u2488com/",
    "http://exa mple.example/",
    "http://exa%mple/",
    "http://xn--\uffff/",
    "http://a\njavascript:alert(1)",
    "http://a.example/\r\nHost: b",
    "http://a.example/\x00",
    "http://a.example/\x1b[2J",
    "http://a.example/\u2028",
    "ftp://shop.example/",
    "javascript:alert(1)",
    "shop.example/a.jpg",
    "",
]
SOUND = [
    "http://shop.example",
    "https://shop.example/a.jpg?x=1#y",
    "https://shop.example:8443/a",
    "https://user:password@shop.example/",
    "https://shop.example./",
    "http://192.168.0.1/",
    "http://[::1]:8000/a",
    "https://bücher.example/stühle rot.jpg",
    "https://例え.example/椅子.jpg",
    "https://under_score.example/%20",
]


def resolver(host: str, port: int) -> list[str]:
    return ["93.184.215.14"]


def fetcher() -> Fetcher:
    def fetch(address: str, most: int, deadline_s: float) -> bytes:
        raise AssertionError(f"{address} was asked for")

    return Fetcher(fetch, allowed=True, max_bytes=10)


READERS: dict[str, Callable[[str], object]] = {
    "parse_web_address": parse_web_address,
    "resolve_target": lambda text: resolve_target(text, resolver),
    "webhook_target": lambda text: webhook_target(text, True, resolver),
    "fetcher": lambda text: fetcher().open(text),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("text", MALFORMED, ids=repr)
def test_a_malformed_address_is_invalid_input(reader: Callable[[str], object], text: str) -> None:
    with pytest.raises((InvalidInput, Refused)):
        reader(text)


@pytest.mark.parametrize("text", MALFORMED, ids=repr)
def test_a_product_with_a_malformed_address_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        ProductIn.model_validate({"url": text})


@pytest.mark.parametrize("text", SOUND)
def test_sound_addresses_are_taken(text: str) -> None:
    assert parse_web_address(text).hostname
    assert ProductIn.model_validate({"url": text}).url == text


def test_the_error_names_the_address_and_the_reason() -> None:
    with pytest.raises(InvalidInput, match=r"'https://\[cdn\]/a.jpg' is not a web address"):
        fetcher().open("https://[cdn]/a.jpg")


@pytest.mark.parametrize("name", ["//[cdn]/a.jpg", "//[/a.jpg", "//[::g]/a"])
def test_a_name_beside_a_manifest_that_makes_no_address_is_invalid_input(name: str) -> None:
    def read_s3(address: str) -> None:
        raise AssertionError

    source = WithAddresses(NoSource(), fetcher(), read_s3, (), "https://shop.example/m.csv")
    with pytest.raises(InvalidInput):
        source.open(name)
    with pytest.raises(VitrineError):
        join_address("https://shop.example/", "//[cdn]/a.jpg")
