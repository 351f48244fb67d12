"""Jobs as they are asked for and polled."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.contracts.base import Contract, ErrorBody

JobState = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


class ImportRequest(Contract):
    """The JSON form of an import: a folder, archive or manifest that the server can read."""

    source: str = Field(
        max_length=4096,
        description="Path or s3:// address under one of jobs.import_roots, or a manifest's web address",
    )


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
