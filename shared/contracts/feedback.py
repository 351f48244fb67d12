"""Feedback of shoppers on hits. It identifies no person."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.contracts.base import Box, Contract, ProductId

FeedbackKind = Literal["click", "not_this", "right"]


class FeedbackIn(Contract):
    """A click or verdict on a hit of an answered search."""

    query_id: str = Field(pattern=r"^[0-9a-f-]{36}$", description="`query_id` of the answer that has the hit")
    product_id: ProductId
    kind: FeedbackKind = Field(
        description="click: opened it; not_this: it is another product; right: it is the product in the photo"
    )
    object: int | None = Field(
        None, ge=0, le=1000, description="Number of the object in the answer; null: the whole image's group"
    )


class FeedbackOut(Contract):
    """Stored feedback, without any data about its sender."""

    id: int
    query_id: str
    product_id: str
    kind: FeedbackKind
    object: int | None
    rank: int = Field(description="Rank of the hit in its group, from 1")
    score: float
    box: Box | None = Field(description="The object in the photo; null: the whole photo")
    photo: bool = Field(description="Whether its photo is stored")
    created_at: datetime
