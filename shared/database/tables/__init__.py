"""The tables: catalogue, ledger, and what surrounds them."""

from shared.database.tables.base import Base, Json
from shared.database.tables.catalogue import (
    Calibration,
    Catalogue,
    Detection,
    GoldenQuery,
    Image,
    IndexVersion,
    ModelVersion,
    Product,
)
from shared.database.tables.ledger import Chunk, Idempotency, Job, JobFailure, JobItem, Search
from shared.database.tables.operations import Delivery, Duplicate, Feedback, Probe, Process, Webhook

__all__ = [
    "Base",
    "Calibration",
    "Catalogue",
    "Chunk",
    "Delivery",
    "Detection",
    "Duplicate",
    "Feedback",
    "GoldenQuery",
    "Idempotency",
    "Image",
    "IndexVersion",
    "Job",
    "JobFailure",
    "JobItem",
    "Json",
    "ModelVersion",
    "Probe",
    "Process",
    "Product",
    "Search",
    "Webhook",
]
