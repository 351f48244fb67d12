"""Settings and colours of the shop's brand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors import Misconfigured
from shared.settings.brand import BrandSettings
from web.storefront.brand import MAX_LOGO_BYTES, load_brand
from web.storefront.colours import DARK_GROUND, LIGHT_GROUND, accent_stylesheet, adapt, contrast, text_on

SVG = b'<?xml version="1.0"?>\n<!-- shop --><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "two\nlines"),
        ("accent", "red"),
        ("accent", "#fff"),
        ("accent", "#ffee00; } body { display: none"),
        ("accent", "#ffee00\n"),
        ("imprint", "javascript:alert(1)"),
        ("imprint", "/imprint"),
        ("privacy", "ftp://shop.example/"),
        ("privacy", "https://"),
        ("privacy", "https://shop.example/a b"),
        ("home", "javascript:alert(1)"),
        ("home", "//shop.example"),
        ("home", "shop"),
    ],
)
def test_bad_values_are_refused(field: str, value: str) -> None:
    with pytest.raises(ValidationError):
        BrandSettings(**{field: value})


def test_good_values_are_taken() -> None:
    links = {"imprint": "https://shop.example/a?b#c", "privacy": "http://shop.example", "home": "/shop"}
    brand = BrandSettings(name="Müller & Söhne", accent="#FFEE00", **links)
    assert (brand.accent, brand.imprint, brand.home) == ("#ffee00", links["imprint"], "/shop")


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_every_accent_is_readable_in_both_schemes() -> None:
    numbers = random.Random(7)
    colours = [
        "#ffee00",
        "#000000",
        "#ffffff",
        "#777777",
        *(f"#{numbers.randrange(1 << 24):06x}" for _ in range(500)),
    ]
    for colour in colours:
        assert contrast(text_on(colour), colour) >= 4.5, colour
        dark = adapt(colour, DARK_GROUND, 3)
        assert contrast(dark, DARK_GROUND) >= 3, colour
        assert contrast(text_on(dark), dark) >= 4.5, colour
        for ground in (LIGHT_GROUND, DARK_GROUND):
            assert contrast(adapt(colour, ground, 4.5), ground) >= 4.5, colour


def test_a_readable_accent_stays_as_it_is() -> None:
    assert adapt("#ffee00", DARK_GROUND, 3) == "#ffee00"
    assert accent_stylesheet("#ffee00").count("--accent: #ffee00; --on-accent: #000000") == 2
    assert "--accent: #000080; --on-accent: #ffffff" in accent_stylesheet("#000080")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (SVG, "image/svg+xml"),
        (b"\xef\xbb\xbf<svg>", "image/svg+xml"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
    ],
)
def test_the_content_of_a_logo_decides_its_type(tmp_path: Path, content: bytes, kind: str) -> None:
    logo = tmp_path / "logo"
    logo.write_bytes(content)
    assert load_brand(BrandSettings(logo=logo)).logo_type == kind


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        (b"", "neither SVG"),
        (b"<html><svg></svg></html>", "neither SVG"),
        (b"<!-- never closed", "neither SVG"),
        (b"\xff\xd8\xff\xe0 JPEG", "neither SVG"),
        (SVG + b" " * MAX_LOGO_BYTES, "larger than 200 kB"),
    ],
)
def test_other_logos_are_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    logo = tmp_path / "logo.svg"
    if content is not None:
        logo.write_bytes(content)
    with pytest.raises(Misconfigured, match=rf"VITRINE_BRAND__LOGO.*{reason}"):
        load_brand(BrandSettings(logo=logo))
