"""Calls that calibrate catalogues, and set what they show first."""

from __future__ import annotations

from collections.abc import Sequence

from shared.contracts import JobOut
from shared.contracts.indexes import ChooseIndex
from shared.contracts.ranking import Boosts, CalibrationOut
from shared.contracts.search import Boost
from vitrine_client.answers import parse_answer, parse_answers
from vitrine_client.connection import Connection


class RankingCalls(Connection):
    """Part of ``Vitrine``."""

    def calibrate(self, catalogue: str, index: int | None = None) -> JobOut:
        """Start finding out what scores mean; return the job, whose report says how well it is known.

        Args:
            index: number of an index version; the live one if it is None.
        """
        body = ChooseIndex(index=index).model_dump(mode="json")
        return parse_answer(JobOut, self._request("POST", f"/v1/catalogues/{catalogue}/calibrate", json=body))

    def calibrations(self, catalogue: str) -> list[CalibrationOut]:
        """Return what is known of each index version that was calibrated, the newest version first."""
        return parse_answers(CalibrationOut, self._request("GET", f"/v1/catalogues/{catalogue}/calibrations"))

    def boosts(self, catalogue: str) -> Boosts:
        """Return what the catalogue shows first among what is near."""
        return self._get(Boosts, f"/v1/catalogues/{catalogue}/boosts")

    def set_boosts(self, catalogue: str, boosts: Sequence[Boost]) -> Boosts:
        """Set that, in place of what it was."""
        body = Boosts(boosts=tuple(boosts)).model_dump(mode="json")
        return parse_answer(Boosts, self._request("PUT", f"/v1/catalogues/{catalogue}/boosts", json=body))
