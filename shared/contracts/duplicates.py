"""Duplicates as they are looked for and shown."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from shared.contracts.base import Contract

DuplicateKind = Literal["exact", "near"]


class DuplicatesRequest(Contract):
    """A search for products of a catalogue that show the same thing. docs/duplicates.md says how."""

    near: bool = Field(True, description="Near duplicates too; false: only pictures with the same bytes")
    max_bits: int = Field(
        10, ge=0, le=32, description="Near: most bits, of 64, in which perceptual hashes may differ"
    )
    min_score: float = Field(
        0.9, ge=0, le=1, allow_inf_nan=False, description="Near: least cosine of the embeddings"
    )


class DuplicateProduct(Contract):
    """A product of a group, with the picture that it is in it for."""

    product_id: str
    title: str
    image_url: str
    similarity: float = Field(description="To the product to keep: 1 for the same bytes, else the cosine")


class DuplicateGroup(Contract):
    """Products that show the same thing: each of them is a duplicate of the one to keep."""

    id: str
    kind: DuplicateKind
    products: list[DuplicateProduct] = Field(description="The one to keep first, then the most alike")
    keep: str = Field(description="The product to keep: most pictures, then most fields, then the oldest")


class DuplicatePage(Contract):
    """Groups of the last finished search for duplicates, exact ones first."""

    job_id: str | None = Field(description="The job that found them; null when none has finished yet")
    found_at: datetime | None
    groups: list[DuplicateGroup]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page")
