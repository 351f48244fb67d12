"""Frozen models of what crosses HTTP: requests, answers, jobs. OpenAPI is generated from them."""

from shared.contracts.base import (
    Box,
    CatalogueName,
    Contract,
    Currency,
    ErrorAnswer,
    ErrorBody,
    Fraction,
    Health,
    Locale,
    ProductId,
)
from shared.contracts.catalogue import (
    CatalogueOut,
    ImageOut,
    ProductIn,
    ProductOut,
)
from shared.contracts.jobs import (
    Failure,
    FailurePage,
    ImportRequest,
    JobCounts,
    JobOut,
    JobState,
)
from shared.contracts.search import (
    FoundObject,
    Hit,
    SearchOptions,
    SearchRequest,
    SearchResult,
    TaskState,
    TaskStatus,
    WholeImage,
)

__all__ = [
    "Box",
    "CatalogueName",
    "CatalogueOut",
    "Contract",
    "Currency",
    "ErrorAnswer",
    "ErrorBody",
    "Failure",
    "FailurePage",
    "FoundObject",
    "Fraction",
    "Health",
    "Hit",
    "ImageOut",
    "ImportRequest",
    "JobCounts",
    "JobOut",
    "JobState",
    "Locale",
    "ProductId",
    "ProductIn",
    "ProductOut",
    "SearchOptions",
    "SearchRequest",
    "SearchResult",
    "TaskState",
    "TaskStatus",
    "WholeImage",
]
