"""Requests and results of searches."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from shared.contracts.base import Box, CatalogueName, Contract, Currency, ErrorBody, Locale, ProductId
from shared.contracts.states import SearchState, inline_values
from shared.limits import MAX_FILTER_CHARS

#: Limits of the product of all factors of a hit.
MIN_BOOST_FACTOR, MAX_BOOST_FACTOR = 0.5, 2.0
MAX_BOOSTS = 8
#: Maximum length of boosts that a form writes as JSON: validation makes an error of each wrong value in them.
MAX_BOOSTS_CHARS = 2 * MAX_BOOSTS * MAX_FILTER_CHARS


class Boost(Contract):
    """A factor for the scores of some products."""

    filter: str = Field(
        min_length=1, max_length=MAX_FILTER_CHARS, description="Which products: docs/filters.md"
    )
    factor: float = Field(
        ge=MIN_BOOST_FACTOR,
        le=MAX_BOOST_FACTOR,
        allow_inf_nan=False,
        description="Multiplier of their score",
    )


_BOOSTS = TypeAdapter(tuple[Boost, ...])


class SearchOptions(Contract):
    """Options of a search besides its photo."""

    catalogue: CatalogueName = "demo"
    top_k: int = Field(20, ge=1, le=1000, description="Maximum number of hits per group")
    box: Box | None = Field(None, description="x0, y0, x1, y1 as fractions: search with this crop only")
    detect: bool = Field(True, description="false: search with the whole image only")
    category: str | None = Field(None, max_length=256, description="Only products of this category")
    filter: str | None = Field(
        None,
        max_length=MAX_FILTER_CHARS,
        description='Only products that match, such as `price < 200 and colour = "red"`: docs/filters.md',
    )
    min_score: float | None = Field(None, ge=-1, le=1, allow_inf_nan=False)
    min_probability: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Only hits with at least this `probability`; for photos in calibrated catalogues",
    )
    boosts: tuple[Boost, ...] | None = Field(
        None,
        max_length=MAX_BOOSTS,
        description="Replaces the catalogue's boosts; an empty list disables them; in a form, as JSON",
    )
    like: tuple[ProductId, ...] = Field(
        (), max_length=20, description="Products that the hits should resemble"
    )
    unlike: tuple[ProductId, ...] = Field(
        (), max_length=20, description="Products that the hits should not resemble"
    )
    repeat: bool = Field(False, description="true: a product may appear in several groups")
    after: str | None = Field(
        None,
        max_length=200,
        description="`next` of a group, for its next page; only top_k, locale and currency may be added",
    )
    locale: Locale = "en"
    currency: Currency | None = Field(
        None, description="Convert prices to this currency if there is a rate; null: no conversion"
    )

    @field_validator("boosts", mode="before")
    @classmethod
    def _as_json(cls, boosts: Any) -> Any:
        if not isinstance(boosts, str):
            return boosts
        if len(boosts) > MAX_BOOSTS_CHARS:
            raise ValueError(f"a JSON list of at most {MAX_BOOSTS_CHARS:,} characters")
        try:
            return _BOOSTS.validate_json(boosts)
        except ValidationError as error:
            raise ValueError(f"a JSON list of {{filter, factor}}: {error.errors()[0]['msg']}") from error

    @field_validator("box")
    @classmethod
    def _has_area(cls, box: Box | None) -> Box | None:
        if box is not None and (box[2] - box[0] < 0.005 or box[3] - box[1] < 0.005):
            raise ValueError("a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1, at least 0.005 each way")
        return box


class SearchRequest(SearchOptions):
    """A search by one of the three sources, by `like` alone, or for the next page (`after`)."""

    image_url: str | None = Field(None, max_length=2048)
    product_id: ProductId | None = None
    query_id: str | None = Field(None, pattern=r"^[0-9a-f-]{36}$", description="An earlier search by photo")


class Explanation(Contract):
    """How boosts affected the rank of a hit."""

    ordered_by: float = Field(description="The score times the factors, whose product is limited to 0.5 to 2")
    boosts: list[Boost] = Field(description="The boosts whose filter the product matches")


class Hit(Contract):
    """A product in a search result."""

    product_id: str
    score: float = Field(description="Cosine similarity, -1 to 1")
    probability: float | None = Field(
        None,
        description="Probability that it is the searched product: eight of ten hits with 0.8 are. Null if "
        "the catalogue is not calibrated, and for searches that are not by photo alone",
    )
    probability_kind: float | None = Field(
        None, description="Probability that it has the category of the searched product"
    )
    image_id: str
    image_url: str
    title: str
    category: str
    price: Decimal | None
    currency: str | None
    price_original: Decimal | None = Field(None, description="The shop's price if `price` is converted")
    currency_original: str | None = Field(None, description="Currency of `price_original`")
    url: str | None
    box: Box | None = Field(description="The matched object in the product's picture")
    query_box: Box | None = Field(None, description="The part of the query photo that it matches")
    query_image_id: str | None = Field(
        None, description="For a search by product: the picture of that product that it matches"
    )
    explanation: Explanation | None = Field(None, description="Null if the search had no boosts")


class PredictedCategory(Contract):
    """The category predicted from the hits of a group. It filters nothing; use `category` for that."""

    value: str
    confidence: float = Field(description="Its share of the hits' votes; 1 if it was given")
    given: bool = Field(description="Whether it is the `category` of the request")


class FoundObject(Contract):
    """An object of the query image and its hits.

    Objects are ordered by prominence = confidence * area ** 0.25 * (1 - offset / 2), where area is the box's
    share of the picture and offset is 0 in its middle and 1 in a corner. Doubtful objects come last.
    """

    box: Box
    label: str
    confidence: float
    doubtful: bool = Field(False, description="Detected with low confidence: show it faintly or on demand")
    hits: list[Hit]
    category: PredictedCategory | None = Field(
        None, description="Null if no hit has a category, and on further pages"
    )
    next: str | None = Field(None, description="Pass as `after` for the next page of this group")


class WholeImage(Contract):
    hits: list[Hit]
    category: PredictedCategory | None = None
    next: str | None = Field(None, description="Pass as `after` for the next page of this group")


class SearchResult(Contract):
    """The result of a search.

    A product is listed with the object that it resembles most; with `repeat`, with each object that it
    matches. Doubtful objects and the whole image list all their hits. The answer to `after` has only the next
    page of that group.
    """

    query_id: str
    catalogue: str
    filter: str | None = Field(None, description="The filter as parsed, category included")
    calibration: Literal["catalogue", "default"] | None = Field(
        None,
        description="Source of `probability`: calibrated on this catalogue, or shipped with the models and "
        "calibrated on the demo catalogue; null if there is none",
    )
    rates_date: date | None = Field(
        None, description="Date of the oldest rate used for a conversion; null if none was"
    )
    objects: list[FoundObject]
    whole: WholeImage
    timings_ms: dict[str, float]
    models: dict[str, str] = Field(description="detector, embedder and index versions")


class TaskStatus(Contract):
    """The state of a search as clients poll it."""

    id: str
    state: Annotated[SearchState, inline_values(SearchState)]
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: SearchResult | None = None
    error: ErrorBody | None = None
    waiting_for: ErrorBody | None = Field(
        None, description="Why it waits, once it has been open for 10 s: code and message"
    )
