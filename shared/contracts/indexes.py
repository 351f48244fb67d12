"""Requests and states of index versions, re-processing and golden queries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from shared.contracts.base import Box, Contract, ProductId
from shared.contracts.states import IndexState, inline_values

ReprocessScope = Literal["all", "stale", "failed"]


class ReprocessRequest(Contract):
    """A re-processing. With the models of the live index, that index is updated in place."""

    detector: str | None = Field(
        None, max_length=4096, description="Registry name, path of weights, or `none`; null: the live index's"
    )
    embedder: str | None = Field(
        None, max_length=4096, description="Registry name or path of weights; null: the live index's"
    )
    scope: ReprocessScope = Field(
        "all",
        description="all; stale: pictures embedded by other models or versions; failed: pictures that the "
        "index lacks. Other models require all",
    )
    filter: str | None = Field(
        None, max_length=4096, description="Only products that match; with the models of the live index only"
    )
    promote: Literal["auto", "manual"] = Field(
        "manual", description="auto: the new index goes live if it passes the quality gate"
    )
    repair: bool = Field(
        True, description="Repair differences between catalogue and index at the end; always for a new index"
    )


class ChooseIndex(Contract):
    """The index version of a request."""

    index: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Its number; null: the default of the request"
    )


class PromoteRequest(ChooseIndex):
    """A promotion; by default of the version that is ready."""

    force: bool = Field(False, description="Ignore the quality gate, and do not wait for workers")


class RollbackRequest(PromoteRequest):
    """A rollback; by default to the version that was live before."""


class PruneRequest(ChooseIndex):
    """Versions to drop; by default those that no rollback needs."""

    all: bool = Field(False, description="All versions that are neither live nor being filled")


class IndexOut(Contract):
    """An index version of a catalogue."""

    number: int
    state: Annotated[IndexState, inline_values(IndexState)]
    collection: str
    detector: str
    embedder: str
    images: int = Field(description="Number of its pictures")
    rebuilding: bool = Field(
        description="Whether a new collection is being filled that will replace the current one"
    )
    complete: bool = Field(description="Whether it has all changes of the catalogue")
    job_id: str | None = Field(description="The job that filled it")
    report: dict[str, Any] | None = Field(
        description="Comparison with the catalogue, and verdict of the quality gate"
    )
    created_at: datetime
    promoted_at: datetime | None
    retired_at: datetime | None


class GoldenIn(Contract):
    """A new golden query; its photo is the file of the form."""

    product_id: ProductId
    box: Box | None = Field(None, description="The object in the photo; null: the most prominent one")

    @field_validator("box")
    @classmethod
    def _has_room(cls, box: Box | None) -> Box | None:
        if box is not None and not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError("a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1")
        return box


class GoldenOut(Contract):
    """A photo with a known right product."""

    id: str
    product_id: str
    box: Box | None
    source: Literal["upload", "feedback"]
    created_at: datetime
