"""Jobs as clients poll them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from shared.contracts.base import Contract, ErrorBody
from shared.contracts.states import JobState, inline_values


class JobCounts(Contract):
    """Numbers of products of a job by outcome."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0


class StageSeconds(Contract):
    """Seconds of all workers by stage; stages overlap, so the sum may exceed the elapsed time."""

    decode: float = 0.0
    detect: float = 0.0
    embed: float = 0.0
    write: float = 0.0


class JobOut(Contract):
    """The state and progress of a job.

    ``rate_per_s`` covers the last minute of a running job, and the whole time without pauses of an ended one.
    ``eta_low_s`` and ``eta_high_s`` are the time left at one standard deviation above and below that rate.
    """

    id: str
    kind: str
    catalogue: str
    state: Annotated[JobState, inline_values(JobState)]
    phase: str = Field("work", description="plan: listing the products; work; finish: the last step")
    options: dict[str, Any] = Field(default_factory=dict)
    retry_of: str | None = Field(None, description="The job whose failures this one retries")
    waits_for: str | None = Field(
        None, description="Why a background job does not continue now: the job that it yields to"
    )
    total: int | None = Field(description="Number of products; null while the manifest is read")
    done: int
    counts: JobCounts
    images: int = Field(description="Number of embedded images")
    images_reused: int = Field(
        0, description="Number of new images whose embeddings were copied from images with the same bytes"
    )
    image_failures: int = Field(description="Number of pictures that could not be used")
    stages_s: StageSeconds = StageSeconds()
    rate_per_s: float | None = Field(description="Products per second")
    eta_s: float | None = Field(description="Seconds left; null unless the job runs")
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    report: dict[str, Any] | None = Field(None, description="Report of the job, by kind")
    error: ErrorBody | None


class Failure(Contract):
    """A product, or one of its pictures, that a job could not use."""

    row: int = Field(description="Line of the manifest, from 1")
    product_id: str | None
    image: str | None
    reason: str
    message: str


class FailurePage(Contract):
    """A page of failures, in the order in which they occurred."""

    reasons: dict[str, int] | None = Field(
        None, description="Number of all failures by reason; on the first page only"
    )
    failures: list[Failure]
    next: str | None = Field(description="Pass as `after` for the next page")


class RetryRequest(Contract):
    """Failures to retry."""

    reason: str | None = Field(
        None,
        max_length=64,
        description="Only failures with this code; null: all failures and unprocessed products",
    )
