"""Catalogues and products."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator

from shared.contracts.base import Box, CatalogueName, Contract, Currency, Locale
from shared.contracts.stored import find_unstorable
from shared.errors import InvalidInput
from shared.net.addresses import parse_web_address

Title = Annotated[str, StringConstraints(min_length=1, max_length=500)]
#: In bytes of UTF-8, as the index counts; the database counts characters, which are at most as many.
MAX_CATEGORY_BYTES = 256
#: Maximum nesting of lists and objects in attributes: deeper values are an attack or a mistake.
MAX_ATTRIBUTE_DEPTH = 16


class ProductIn(Contract):
    """The data of a product without its pictures, as it is written.

    The limits of index and database are checked here, so that a row is rejected when it is read and not when
    it is written. docs/import.md lists them.
    """

    titles: dict[Locale, Title] = Field(default_factory=dict)
    category: str = Field("", max_length=256, description="At most 256 bytes of UTF-8")
    categories: dict[Locale, Annotated[str, StringConstraints(max_length=256)]] = Field(default_factory=dict)
    price: Decimal | None = Field(None, ge=0, max_digits=14, decimal_places=4)
    currency: Currency | None = None
    url: str | None = Field(None, max_length=2048, pattern=r"^https?://")
    tags: list[Annotated[str, StringConstraints(max_length=128)]] = Field([], max_length=100)
    attributes: dict[str, Any] = Field(default_factory=dict)

    @field_validator("category")
    @classmethod
    def _fits_the_index(cls, category: str) -> str:
        if (size := len(category.encode(errors="replace"))) > MAX_CATEGORY_BYTES:
            raise ValueError(f"at most {MAX_CATEGORY_BYTES} bytes of UTF-8 are allowed, it has {size}")
        return category

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        try:
            if url is not None:
                parse_web_address(url)
        except InvalidInput as error:
            raise ValueError(error.message.removesuffix(".")) from error
        return url

    @field_validator("titles", "category", "categories", "tags", "attributes")
    @classmethod
    def _can_be_stored(cls, value: Any) -> Any:
        if (wrong := find_unstorable(value, MAX_ATTRIBUTE_DEPTH)) is not None:
            raise ValueError(wrong.removesuffix("."))
        return value


class ImageOut(Contract):
    image_id: str
    url: str
    width: int
    height: int
    box: Box | None = Field(description="The main object; null if none was detected")


class ProductOut(Contract):
    """A product as stored. It may exceed the limits of ``ProductIn`` if it was written before them."""

    titles: dict[str, str]
    category: str
    categories: dict[str, str]
    price: Decimal | None
    currency: str | None
    url: str | None
    tags: list[str]
    attributes: dict[str, Any]
    product_id: str
    images: list[ImageOut]
    updated_at: datetime


class CatalogueOut(Contract):
    name: CatalogueName
    products: int
    images: int
    currency: str
    index_version: str | None
    detector: str | None
    embedder: str | None
    created_at: datetime
