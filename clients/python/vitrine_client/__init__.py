"""The Python client of Vitrine, for shops: ``from vitrine_client import Vitrine``. See docs/client.md.

It needs httpx and pydantic. Of the server it shares contracts and errors, and loads nothing else.
"""

from shared.contracts import (
    CatalogueOut,
    FoundObject,
    Hit,
    ImportOptions,
    JobOut,
    ProductIn,
    ProductOut,
    SearchOptions,
    SearchResult,
    TaskStatus,
)
from shared.contracts.duplicates import DuplicateGroup, DuplicateProduct, DuplicatesRequest
from shared.contracts.indexes import (
    GoldenOut,
    IndexOut,
    PromoteRequest,
    PruneRequest,
    ReprocessRequest,
    RollbackRequest,
)
from shared.errors import (
    Conflict,
    Expired,
    InvalidInput,
    NotFound,
    Overloaded,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownCatalogue,
    UnknownProduct,
    VitrineError,
)
from vitrine_client.client import Vitrine

__all__ = [
    "CatalogueOut",
    "Conflict",
    "DuplicateGroup",
    "DuplicateProduct",
    "DuplicatesRequest",
    "Expired",
    "FoundObject",
    "GoldenOut",
    "Hit",
    "ImportOptions",
    "IndexOut",
    "InvalidInput",
    "JobOut",
    "NotFound",
    "Overloaded",
    "ProductIn",
    "ProductOut",
    "PromoteRequest",
    "PruneRequest",
    "Refused",
    "ReprocessRequest",
    "RollbackRequest",
    "SearchOptions",
    "SearchResult",
    "TaskStatus",
    "Unauthorized",
    "Unavailable",
    "UnknownCatalogue",
    "UnknownProduct",
    "Vitrine",
    "VitrineError",
]
