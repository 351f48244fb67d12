"""Searches and their answers."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import Field, field_validator

from shared.contracts.base import Box, CatalogueName, Contract, ErrorBody, Locale, ProductId
from shared.filters import MAX_CHARS

TaskState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class SearchOptions(Contract):
    """What a caller may ask of a search besides the picture."""

    catalogue: CatalogueName = "demo"
    top_k: int = Field(20, ge=1, le=1000, description="Most hits a group")
    box: Box | None = Field(None, description="x0, y0, x1, y1 as fractions: search this crop only")
    detect: bool = Field(True, description="false: only the whole image is searched")
    category: str | None = Field(None, max_length=256, description="Only products of this category")
    filter: str | None = Field(
        None,
        max_length=MAX_CHARS,
        description='Only products that pass, such as `price < 200 and colour = "red"`: docs/filters.md',
    )
    min_score: float | None = Field(None, ge=-1, le=1, allow_inf_nan=False)
    like: tuple[ProductId, ...] = Field(
        (), max_length=20, description="Products that are more what is wanted"
    )
    unlike: tuple[ProductId, ...] = Field((), max_length=20, description="Products that are not wanted")
    repeat: bool = Field(False, description="true: a product may be in several groups")
    after: str | None = Field(
        None,
        max_length=200,
        description="`next` of a group: the page after it; goes with top_k and locale only",
    )
    locale: Locale = "en"

    @field_validator("box")
    @classmethod
    def _has_area(cls, box: Box | None) -> Box | None:
        if box is not None and (box[2] - box[0] < 0.005 or box[3] - box[1] < 0.005):
            raise ValueError("a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1, at least 0.005 each way")
        return box


class SearchRequest(SearchOptions):
    """The JSON form of a search: one of the three sources, or `like` alone, or `after`."""

    image_url: str | None = Field(None, max_length=2048)
    product_id: ProductId | None = None
    query_id: str | None = Field(None, pattern=r"^[0-9a-f-]{36}$", description="An earlier search by photo")


class Hit(Contract):
    """One product found."""

    product_id: str
    score: float = Field(description="Cosine, -1 to 1; higher is nearer")
    probability: float | None = Field(None, description="Calibrated; null until the catalogue is calibrated")
    image_id: str
    image_url: str
    title: str
    category: str
    price: Decimal | None
    currency: str | None
    url: str | None
    box: Box | None = Field(description="The matched object in the product's picture")
    query_box: Box | None = Field(None, description="The part of the searched photo that it matches")
    query_image_id: str | None = Field(None, description="By product: which of its pictures it matches")


class FoundObject(Contract):
    """One object of the query image and its hits.

    Objects come in the order of prominence = confidence * area ** 0.25 * (1 - offset / 2), where area is the
    box's share of the picture and offset is 0 in its middle and 1 in a corner.
    """

    box: Box
    label: str
    confidence: float
    hits: list[Hit]
    next: str | None = Field(None, description="Ask with it as `after` for more of this group")


class WholeImage(Contract):
    hits: list[Hit]
    next: str | None = Field(None, description="Ask with it as `after` for more of this group")


class SearchResult(Contract):
    """The answer to a search.

    Of the objects, a product is with the one it is most like; with `repeat`, with each that finds it. The
    whole image has its own nearest. The answer to `after` has that group's next page alone.
    """

    query_id: str
    catalogue: str
    filter: str | None = Field(None, description="The filter, category included, as it was understood")
    objects: list[FoundObject]
    whole: WholeImage
    timings_ms: dict[str, float]
    models: dict[str, str] = Field(description="detector, embedder and index versions")


class TaskStatus(Contract):
    """A search as the client polls it."""

    id: str
    state: TaskState
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: SearchResult | None = None
    error: ErrorBody | None = None
