"""What shoppers do with hits, as it is sent and shown. It names no person."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.contracts.base import Box, Contract, ProductId

FeedbackKind = Literal["click", "not_this", "right"]


class FeedbackIn(Contract):
    """What somebody did with a hit of an answered search."""

    query_id: str = Field(pattern=r"^[0-9a-f-]{36}$", description="Of the answer that the hit is in")
    product_id: ProductId
    kind: FeedbackKind = Field(
        description="click: looked at it; not_this: it is something else; right: it is what the photo shows"
    )
    object: int | None = Field(
        None, ge=0, le=1000, description="Number of the object in the answer; null: the whole image's group"
    )


class FeedbackOut(Contract):
    """What was kept of it: nothing about who said it."""

    id: int
    query_id: str
    product_id: str
    kind: FeedbackKind
    object: int | None
    rank: int = Field(description="Place of the hit in its group, from 1")
    score: float
    box: Box | None = Field(description="The object in the photo; null: the whole photo")
    photo: bool = Field(description="Whether its photo is kept")
    created_at: datetime
