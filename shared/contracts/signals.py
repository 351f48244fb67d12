"""How searches do, as it is shown."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from shared.contracts.base import Contract


class StageFigures(Contract):
    """What one stage of searches took, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float


class RecallFigures(Contract):
    """How many of the true nearest a catalogue's live searches found, by its last probes."""

    catalogue: str
    index: int = Field(description="Number of the index version")
    k: int = Field(description="Of so many nearest")
    probes: int
    recall: float = Field(description="Mean share, 0 to 1")
    worst: float
    newest_at: datetime


class Signals(Contract):
    """The newest searches of the last hour, of all web and worker processes together."""

    window_s: int
    searches: int = Field(description="Answered searches in the window")
    per_minute: list[int] = Field(description="Answered searches in each of its minutes, the oldest first")
    stages_ms: dict[str, StageFigures] = Field(
        description="wait, decode, detect, crop, embed, search, hydrate, and total: from asked to answered"
    )
    recall: list[RecallFigures]
