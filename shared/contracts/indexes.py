"""Index versions, re-processing and golden queries, as they are asked for and shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from shared.contracts.base import Box, Contract, ProductId
from shared.contracts.states import IndexState, inline_values

ReprocessScope = Literal["all", "stale", "failed"]


class ReprocessRequest(Contract):
    """A re-processing. Without other models than the live index's it mends that index in place."""

    detector: str | None = Field(
        None, max_length=4096, description="Registry name, path of weights, or `none`; null: the live index's"
    )
    embedder: str | None = Field(
        None, max_length=4096, description="Registry name or path of weights; null: the live index's"
    )
    scope: ReprocessScope = Field(
        "all",
        description="all; stale: pictures that the models did not make, or not in this version; failed: "
        "pictures that the index lacks. Other models need all",
    )
    filter: str | None = Field(None, max_length=4096, description="Only these products; in place only")
    promote: Literal["auto", "manual"] = Field(
        "manual", description="auto: the new index goes live if the quality gate lets it through"
    )
    repair: bool = Field(
        True, description="Mend what differs between catalogue and index at the end; a new index always is"
    )


class ChooseIndex(Contract):
    """Which index version is meant."""

    index: int | None = Field(None, ge=1, le=2**31 - 1, description="Its number; null: the obvious one")


class PromoteRequest(ChooseIndex):
    """A promotion; without a number, of the version that is ready."""

    force: bool = Field(False, description="Also against the quality gate, and without waiting for workers")


class RollbackRequest(PromoteRequest):
    """A rollback; without a number, to the version that was live before."""


class PruneRequest(ChooseIndex):
    """Which versions are dropped; without a number, those that nobody goes back to."""

    all: bool = Field(False, description="Everything that is neither live nor being filled")


class IndexOut(Contract):
    """An index version of a catalogue."""

    number: int
    state: Annotated[IndexState, inline_values(IndexState)]
    collection: str
    detector: str
    embedder: str
    images: int = Field(description="Pictures that it has")
    rebuilding: bool = Field(description="Whether a collection is being filled that will take its place")
    complete: bool = Field(description="Whether it has every change of the catalogue")
    job_id: str | None = Field(description="The job that filled it")
    report: dict[str, Any] | None = Field(description="Comparison with the catalogue, and the gate's verdict")
    created_at: datetime
    promoted_at: datetime | None
    retired_at: datetime | None


class GoldenIn(Contract):
    """A golden query as it is made; the photo comes along as the form's file."""

    product_id: ProductId
    box: Box | None = Field(None, description="The object in the photo; null: the most prominent one")

    @field_validator("box")
    @classmethod
    def _has_room(cls, box: Box | None) -> Box | None:
        if box is not None and not (box[0] < box[2] and box[1] < box[3]):
            raise ValueError("a box is x0, y0, x1, y1 with x0 < x1 and y0 < y1")
        return box


class GoldenOut(Contract):
    """A photo whose right answer is known."""

    id: str
    product_id: str
    box: Box | None
    source: Literal["upload", "feedback"]
    created_at: datetime
