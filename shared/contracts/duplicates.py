"""Requests and results of the search for duplicates."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.contracts.base import Contract

DuplicateKind = Literal["exact", "near"]


class DuplicatesRequest(Contract):
    """Options of a search for duplicate products. See docs/duplicates.md."""

    near: bool = Field(True, description="Include near duplicates; false: only pictures with the same bytes")
    max_bits: int = Field(
        10,
        ge=0,
        le=32,
        description="Near: maximum number of bits, of 64, in which perceptual hashes may differ",
    )
    min_score: float = Field(
        0.9, ge=0, le=1, allow_inf_nan=False, description="Near: minimum cosine of the embeddings"
    )


class DuplicateProduct(Contract):
    """A product of a group, with the picture that matched."""

    product_id: str
    title: str
    image_url: str
    similarity: float = Field(
        description="Similarity to the product to keep: 1 for the same bytes, else the cosine"
    )


class DuplicateGroup(Contract):
    """Products with duplicate pictures: each is a duplicate of the one to keep."""

    id: str
    kind: DuplicateKind
    products: list[DuplicateProduct] = Field(description="The product to keep first, then by similarity")
    keep: str = Field(
        description="The product to keep: the one with most pictures, then most fields, then the oldest"
    )


class DuplicatePage(Contract):
    """A page of the groups of the last successful job, exact ones first."""

    job_id: str | None = Field(description="The job that found them; null if none has succeeded yet")
    found_at: datetime | None
    groups: list[DuplicateGroup]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page")
