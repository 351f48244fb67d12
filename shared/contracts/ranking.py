"""Calibrations and boosts of catalogues."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from shared.contracts.base import Contract
from shared.contracts.search import MAX_BOOSTS, Boost


class Boosts(Contract):
    """The default boosts of a catalogue."""

    boosts: tuple[Boost, ...] = Field((), max_length=MAX_BOOSTS)


class CalibrationOut(Contract):
    """The calibration of an index version's scores."""

    index: int = Field(description="Number of the index version")
    live: bool
    calibrated: bool = Field(
        description="false: the catalogue has too little data; `report` shows what is missing"
    )
    report: dict[str, Any]
    created_at: datetime
