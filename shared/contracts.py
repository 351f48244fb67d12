"""Frozen models of what crosses HTTP: requests, answers, jobs. OpenAPI is generated from them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

CatalogueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]
ProductId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Locale = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,2}$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Box = tuple[Fraction, Fraction, Fraction, Fraction]

TaskState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Contract(BaseModel):
    """Base of the models: immutable, and a field nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SearchOptions(Contract):
    """What a caller may ask of a search besides the picture."""

    catalogue: CatalogueName = "demo"
    top_k: int = Field(20, ge=1, le=1000, description="Most hits a group")
    box: Box | None = Field(None, description="x0, y0, x1, y1 as fractions: search this crop only")
    detect: bool = Field(True, description="false: only the whole image is searched")
    category: str | None = Field(None, max_length=256, description="Only products of this category")
    min_score: float | None = Field(None, ge=-1, le=1, allow_inf_nan=False)
    locale: Locale = "en"

    @field_validator("box")
    @classmethod
    def _has_area(cls, box: Box | None) -> Box | None:
        if box is not None and (box[2] - box[0] < 0.005 or box[3] - box[1] < 0.005):
            raise ValueError("a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1, at least 0.005 each way")
        return box


class SearchRequest(SearchOptions):
    """The JSON form of a search: exactly one of the three sources."""

    image_url: str | None = Field(None, max_length=2048)
    product_id: ProductId | None = None
    query_id: str | None = Field(None, pattern=r"^[0-9a-f-]{36}$", description="An earlier search's photo")


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


class FoundObject(Contract):
    """One object of the query image and its hits."""

    box: Box
    label: str
    confidence: float
    hits: list[Hit]


class WholeImage(Contract):
    hits: list[Hit]


class SearchResult(Contract):
    """The answer to a search."""

    query_id: str
    catalogue: str
    objects: list[FoundObject]
    whole: WholeImage
    timings_ms: dict[str, float]
    models: dict[str, str] = Field(description="detector, embedder and index versions")


class ErrorBody(Contract):
    """The one shape of every error."""

    code: str
    message: str
    field: str | None = None
    request_id: str | None = None


class ErrorAnswer(Contract):
    error: ErrorBody


class TaskStatus(Contract):
    """A search as the client polls it."""

    id: str
    state: TaskState
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: SearchResult | None = None
    error: ErrorBody | None = None


class ProductIn(Contract):
    """A product as a catalogue keeper writes it; pictures come beside it."""

    titles: dict[Locale, Annotated[str, StringConstraints(min_length=1, max_length=500)]] = {}
    category: str = Field("", max_length=256)
    categories: dict[Locale, Annotated[str, StringConstraints(max_length=256)]] = {}
    price: Decimal | None = Field(None, ge=0, max_digits=14, decimal_places=4)
    currency: Currency | None = None
    url: str | None = Field(None, max_length=2048, pattern=r"^https?://")
    tags: list[Annotated[str, StringConstraints(max_length=128)]] = Field([], max_length=100)
    attributes: dict[str, Any] = {}


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


class ImportRequest(Contract):
    """The JSON form of an import: a folder or manifest that the server can read."""

    source: str = Field(max_length=4096, description="Path under one of jobs.import_roots")


class JobCounts(Contract):
    """What became of the products of a job."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0


class JobOut(Contract):
    """A job as it is polled."""

    id: str
    kind: str
    catalogue: str
    state: JobState
    total: int | None = Field(description="Products; null while the manifest is being read")
    done: int
    counts: JobCounts
    images: int = Field(description="Images embedded")
    image_failures: int = Field(description="Pictures that could not be used")
    rate_per_s: float | None = Field(description="Products a second")
    eta_s: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: ErrorBody | None


class Failure(Contract):
    """A product, or one of its pictures, that a job could not use."""

    row: int = Field(description="Line of the manifest, from 1")
    product_id: str | None
    image: str | None
    reason: str
    message: str


class FailurePage(Contract):
    failures: list[Failure]
    next: str | None = Field(description="Pass as `after` for the next page")


class Health(Contract):
    """Readiness, part by part."""

    ready: bool
    parts: dict[str, str] = Field(description="`ok`, or what is wrong, by part")
