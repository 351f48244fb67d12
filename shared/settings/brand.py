"""Settings of the storefront's brand: the shop's name, logo, colour and links."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator

from shared.settings.groups import Group

DEFAULT_NAME = "Vitrine"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
_LINK = re.compile(r"https?://[^\s/?#@\\]+(?:[/?#]\S*)?", re.ASCII)
_PATH = re.compile(r"/(?![/\\])\S*")


class BrandSettings(Group):
    name: str = Field(
        DEFAULT_NAME, min_length=1, max_length=60, description="Name of the shop on the pages of shoppers"
    )
    logo: Path | None = Field(
        None, description="Path of the shop's logo: SVG, PNG or WebP, at most 200 kB; empty: Vitrine's mark"
    )
    accent: str = Field(
        "", description="Colour of buttons and links, as #rrggbb; empty: Vitrine's own colours"
    )
    home: str = Field(
        "", description="Address that logo and name lead to: https://... or /path; empty: the start page"
    )
    imprint: str = Field("", description="Address of the imprint, linked in the footer; empty: no link")
    privacy: str = Field(
        "", description="Address of the privacy policy, linked in the footer; empty: no link"
    )
    footer: str = Field("", max_length=300, description="Text of the footer; empty: Vitrine's own sentence")
    catalogue: str = Field(
        "", description="Catalogue that the start page searches first; empty or unknown: the first one"
    )

    @field_validator("name", "footer")
    @classmethod
    def _check_text(cls, text: str) -> str:
        if text and not (text.isprintable() and text.strip()):
            raise ValueError("write visible characters on one line")
        return text.strip()

    @field_validator("logo", mode="before")
    @classmethod
    def _empty_is_none(cls, path: object) -> object:
        return None if path == "" else path

    @field_validator("accent")
    @classmethod
    def _check_colour(cls, text: str) -> str:
        if text and not _COLOUR.fullmatch(text):
            raise ValueError(f"{text!r} is no colour: write # and six hexadecimal digits, such as #0a7d5c")
        return text.lower()

    @field_validator("imprint", "privacy")
    @classmethod
    def _check_link(cls, text: str) -> str:
        if text and not _LINK.fullmatch(text):
            raise ValueError(f"{text!r} is no web address: write one such as https://shop.example/imprint")
        return text

    @field_validator("home")
    @classmethod
    def _check_home(cls, text: str) -> str:
        if text and not (_LINK.fullmatch(text) or _PATH.fullmatch(text)):
            raise ValueError(f"{text!r} is no address: write one such as https://shop.example/ or /shop")
        return text
