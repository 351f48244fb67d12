"""Catalogues and products."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from shared.contracts.base import Box, CatalogueName, Contract, Currency, Locale, ProductId

Title = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class ProductIn(Contract):
    """A product as a catalogue keeper writes it; pictures come beside it."""

    titles: dict[Locale, Title] = Field(default_factory=dict)
    category: str = Field("", max_length=256)
    categories: dict[Locale, Annotated[str, StringConstraints(max_length=256)]] = Field(default_factory=dict)
    price: Decimal | None = Field(None, ge=0, max_digits=14, decimal_places=4)
    currency: Currency | None = None
    url: str | None = Field(None, max_length=2048, pattern=r"^https?://")
    tags: list[Annotated[str, StringConstraints(max_length=128)]] = Field([], max_length=100)
    attributes: dict[str, Any] = Field(default_factory=dict)


class ImageOut(Contract):
    image_id: str
    url: str
    width: int
    height: int
    box: Box | None = Field(description="The main object, null where none was found")


class ProductOut(ProductIn):
    product_id: ProductId
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
