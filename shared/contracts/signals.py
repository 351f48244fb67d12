"""Search metrics as the API returns them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from shared.contracts.base import Contract


class StageFigures(Contract):
    """Duration of a stage of searches in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float


class RecallFigures(Contract):
    """Recall of a catalogue's searches, measured by its last probes."""

    catalogue: str
    index: int = Field(description="Number of the index version")
    k: int = Field(description="Number of nearest neighbours compared")
    probes: int
    recall: float = Field(description="Mean share, 0 to 1")
    worst: float
    newest_at: datetime


class Signals(Contract):
    """Metrics of the searches of the last hour, over all web and worker processes."""

    window_s: int
    searches: int = Field(description="Answered searches in the window")
    per_minute: list[int] = Field(description="Answered searches in each minute of the window, oldest first")
    stages_ms: dict[str, StageFigures] = Field(
        description="wait, decode, detect, crop, embed, search, hydrate, and total: from request to answer"
    )
    recall: list[RecallFigures]
