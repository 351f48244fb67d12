"""The state of the whole system, as `GET /v1/status` states it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.contracts.base import Contract
from shared.contracts.catalogue import CatalogueOut
from shared.contracts.jobs import JobOut


class LaneStatus(Contract):
    """Whether a lane works off what waits in it."""

    healthy: bool
    oldest_waiting_s: float | None = Field(description="Seconds that the oldest item has waited")
    idle_s: float | None = Field(description="Seconds since its workers completed an item")


class BrokerStatus(Contract):
    """Whether the broker takes messages, and its memory."""

    state: str
    used_bytes: int | None
    max_bytes: int | None


class MissingCollection(Contract):
    """A collection that Milvus lacks, and the command that makes it again."""

    catalogue: str
    collection: str
    command: str


class ProcessStatus(Contract):
    """A process that was seen in the last seconds."""

    name: str
    role: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    details: dict[str, Any] = Field(description="Models, runtime, index and notes, by role")


class SystemStatus(Contract):
    """The state of the whole system."""

    version: str
    ready: bool
    parts: dict[str, str] = Field(description="`ok`, or the error, by part")
    lanes: dict[str, LaneStatus]
    broker: BrokerStatus
    missing_collections: list[MissingCollection]
    processes: list[ProcessStatus]
    queues: dict[str, int] = Field(description="What waits, by lane")
    waiting: dict[str, dict[str, Any]] = Field(description="What waits and since when, by lane")
    catalogues: list[CatalogueOut]
    jobs: list[JobOut] = Field(description="The newest 50 open jobs")
    searches: dict[str, Any] = Field(description="Counts and latencies of the searches of the last hour")
