"""What scores mean, and in which order hits are shown, as an owner sets and sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.contracts.base import Contract
from shared.contracts.search import MAX_BOOSTS, Boost


class Boosts(Contract):
    """The boosts of a catalogue, for searches that say nothing else."""

    boosts: tuple[Boost, ...] = Field((), max_length=MAX_BOOSTS)


class CalibrationOut(Contract):
    """What was found out about the scores of an index version."""

    index: int = Field(description="The index version's number")
    live: bool
    calibrated: bool = Field(description="false: there was too little to learn from, `report` says what")
    report: dict[str, Any]
    created_at: datetime
