"""Jobs as they are asked for and polled."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from shared.contracts.base import Contract, ErrorBody
from shared.contracts.states import JobState, inline_values


class JobCounts(Contract):
    """What became of the products of a job."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0


class StageSeconds(Contract):
    """Seconds that the workers spent in each stage; stages overlap, so the sum may exceed the clock."""

    decode: float = 0.0
    detect: float = 0.0
    embed: float = 0.0
    write: float = 0.0


class JobOut(Contract):
    """A job as it is polled.

    ``rate_per_s`` is that of the last minute while the job runs, and of the whole job without its pauses
    once it ended. ``eta_low_s`` and ``eta_high_s`` are the time left if the job goes on one standard
    deviation faster or slower than it did in that minute.
    """

    id: str
    kind: str
    catalogue: str
    state: Annotated[JobState, inline_values(JobState)]
    phase: str = Field("work", description="plan: listing the products; work; finish: the last step")
    options: dict[str, Any] = Field(default_factory=dict)
    retry_of: str | None = Field(None, description="The job whose failures this one does again")
    waits_for: str | None = Field(
        None, description="Why a job that the system began does not go on now: what it gives way to"
    )
    total: int | None = Field(description="Products; null while the manifest is being read")
    done: int
    counts: JobCounts
    images: int = Field(description="Images embedded")
    images_reused: int = Field(
        0, description="New images that were not, because others with their bytes were"
    )
    image_failures: int = Field(description="Pictures that could not be used")
    stages_s: StageSeconds = StageSeconds()
    rate_per_s: float | None = Field(description="Products a second")
    eta_s: float | None = Field(description="Seconds left; null unless it runs")
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    report: dict[str, Any] | None = Field(None, description="What the job found out at its end")
    error: ErrorBody | None


class Failure(Contract):
    """A product, or one of its pictures, that a job could not use."""

    row: int = Field(description="Line of the manifest, from 1")
    product_id: str | None
    image: str | None
    reason: str
    message: str


class FailurePage(Contract):
    """Failures in the order in which they were found."""

    reasons: dict[str, int] | None = Field(None, description="All failures by reason; on the first page only")
    failures: list[Failure]
    next: str | None = Field(description="Pass as `after` for the next page")


class RetryRequest(Contract):
    """Which failures are done again."""

    reason: str | None = Field(
        None, max_length=64, description="Only those with this code; null: all, and what was never done"
    )
