"""Searches and their answers."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from shared.contracts.base import Box, CatalogueName, Contract, Currency, ErrorBody, Locale, ProductId
from shared.contracts.states import SearchState, inline_values
from shared.filters import MAX_CHARS

#: What the factors of all boosts of a hit may come to.
MIN_BOOST_FACTOR, MAX_BOOST_FACTOR = 0.5, 2.0
MAX_BOOSTS = 8
#: Maximum length of boosts that a form writes as JSON: validation makes an error of each wrong value in them.
MAX_BOOSTS_CHARS = 2 * MAX_BOOSTS * MAX_CHARS


class Boost(Contract):
    """What a shop would rather show, or rather not."""

    filter: str = Field(min_length=1, max_length=MAX_CHARS, description="Which products: docs/filters.md")
    factor: float = Field(
        ge=MIN_BOOST_FACTOR,
        le=MAX_BOOST_FACTOR,
        allow_inf_nan=False,
        description="Multiplier of their score",
    )


_BOOSTS = TypeAdapter(tuple[Boost, ...])


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
    min_probability: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Only hits with at least this `probability`; of photos, in calibrated catalogues",
    )
    boosts: tuple[Boost, ...] | None = Field(
        None,
        max_length=MAX_BOOSTS,
        description="In place of the catalogue's own, none with an empty list; in a form, as JSON",
    )
    like: tuple[ProductId, ...] = Field(
        (), max_length=20, description="Products that are more what is wanted"
    )
    unlike: tuple[ProductId, ...] = Field((), max_length=20, description="Products that are not wanted")
    repeat: bool = Field(False, description="true: a product may be in several groups")
    after: str | None = Field(
        None,
        max_length=200,
        description="`next` of a group: the page after it; goes with top_k, locale and currency only",
    )
    locale: Locale = "en"
    currency: Currency | None = Field(
        None, description="Prices in this currency, where there is a rate; null: as the shop has them"
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
    """The JSON form of a search: one of the three sources, or `like` alone, or `after`."""

    image_url: str | None = Field(None, max_length=2048)
    product_id: ProductId | None = None
    query_id: str | None = Field(None, pattern=r"^[0-9a-f-]{36}$", description="An earlier search by photo")


class Explanation(Contract):
    """Why a hit stands where it stands, where boosts had a say."""

    ordered_by: float = Field(description="The score times the factors, which come to 0.5 to 2 at most")
    boosts: list[Boost] = Field(description="Those that the product passes")


class Hit(Contract):
    """One product found."""

    product_id: str
    score: float = Field(description="Cosine, -1 to 1; higher is nearer")
    probability: float | None = Field(
        None,
        description="That it is the product asked for: of ten hits with 0.8, eight are. Null where the "
        "catalogue is not calibrated, and in searches that are not by photo alone",
    )
    probability_kind: float | None = Field(
        None, description="That it is of the same category as the product asked for"
    )
    image_id: str
    image_url: str
    title: str
    category: str
    price: Decimal | None
    currency: str | None
    price_original: Decimal | None = Field(None, description="The shop's, where `price` is converted")
    currency_original: str | None = Field(None, description="Of `price_original`")
    url: str | None
    box: Box | None = Field(description="The matched object in the product's picture")
    query_box: Box | None = Field(None, description="The part of the searched photo that it matches")
    query_image_id: str | None = Field(None, description="By product: which of its pictures it matches")
    explanation: Explanation | None = Field(None, description="Null where the search had no boosts")


class PredictedCategory(Contract):
    """What a group's hits say it is. It filters nothing; ask again with `category` to have only that."""

    value: str
    confidence: float = Field(description="The share of the hits' votes that it has; 1 where it was given")
    given: bool = Field(description="Whether it is the `category` that the search asked for")


class FoundObject(Contract):
    """One object of the query image and its hits.

    Objects come in the order of prominence = confidence * area ** 0.25 * (1 - offset / 2), where area is the
    box's share of the picture and offset is 0 in its middle and 1 in a corner. Doubtful ones come last.
    """

    box: Box
    label: str
    confidence: float
    doubtful: bool = Field(
        False, description="The detector is not sure that it is an object: show it faintly, or on demand"
    )
    hits: list[Hit]
    category: PredictedCategory | None = Field(
        None, description="Null where no hit has a category, and on further pages"
    )
    next: str | None = Field(None, description="Ask with it as `after` for more of this group")


class WholeImage(Contract):
    hits: list[Hit]
    category: PredictedCategory | None = None
    next: str | None = Field(None, description="Ask with it as `after` for more of this group")


class SearchResult(Contract):
    """The answer to a search.

    Of the objects, a product is with the one it is most like; with `repeat`, with each that finds it. A
    doubtful object has all that it finds, and takes nothing from the others. The
    whole image has its own nearest. The answer to `after` has that group's next page alone.
    """

    query_id: str
    catalogue: str
    filter: str | None = Field(None, description="The filter, category included, as it was understood")
    calibration: Literal["catalogue", "default"] | None = Field(
        None,
        description="Whose `probability` this is: made of the catalogue's own pictures, or shipped with the "
        "models and made of the demo's; null where there is none",
    )
    rates_date: date | None = Field(
        None, description="Of the oldest rate that a price was converted with; null where none was"
    )
    objects: list[FoundObject]
    whole: WholeImage
    timings_ms: dict[str, float]
    models: dict[str, str] = Field(description="detector, embedder and index versions")


class TaskStatus(Contract):
    """A search as the client polls it."""

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
