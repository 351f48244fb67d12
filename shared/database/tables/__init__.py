"""Tables: access, catalogues, searches and jobs, operations, ranking and metrics."""

from shared.database.tables.access import ApiKey, AuditEntry, DeletedSearch, SessionRow
from shared.database.tables.base import MAX_ROW_ID, Base, Json
from shared.database.tables.catalogue import (
    Calibration,
    Catalogue,
    DeletedProduct,
    Detection,
    GoldenQuery,
    Image,
    IndexVersionRow,
    ModelVersion,
    Product,
)
from shared.database.tables.ledger import Chunk, Idempotency, Job, JobFailure, JobItem, Search
from shared.database.tables.operations import (
    Delivery,
    Duplicate,
    DuplicatePair,
    Feedback,
    Process,
    Webhook,
)
from shared.database.tables.ranking import Ranking
from shared.database.tables.signals import Probe, ProbeQuery, StageCount, Timing

__all__ = [
    "MAX_ROW_ID",
    "ApiKey",
    "AuditEntry",
    "Base",
    "Calibration",
    "Catalogue",
    "Chunk",
    "DeletedProduct",
    "DeletedSearch",
    "Delivery",
    "Detection",
    "Duplicate",
    "DuplicatePair",
    "Feedback",
    "GoldenQuery",
    "Idempotency",
    "Image",
    "IndexVersionRow",
    "Job",
    "JobFailure",
    "JobItem",
    "Json",
    "ModelVersion",
    "Probe",
    "ProbeQuery",
    "Process",
    "Product",
    "Ranking",
    "Search",
    "SessionRow",
    "StageCount",
    "Timing",
    "Webhook",
]
