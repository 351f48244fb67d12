"""Calls that calibrate catalogues and set their boosts."""

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
        """Start a calibration; return the job, whose report has the calibration errors.

        Args:
            index: number of an index version; None for the live one.
        """
        body = ChooseIndex(index=index).model_dump(mode="json")
        return parse_answer(JobOut, self._request("POST", f"/v1/catalogues/{catalogue}/calibrate", json=body))

    def calibrations(self, catalogue: str) -> list[CalibrationOut]:
        """Return the calibrations of all index versions, newest version first."""
        return parse_answers(CalibrationOut, self._request("GET", f"/v1/catalogues/{catalogue}/calibrations"))

    def boosts(self, catalogue: str) -> Boosts:
        """Return the catalogue's boosts."""
        return self._get(Boosts, f"/v1/catalogues/{catalogue}/boosts")

    def set_boosts(self, catalogue: str, boosts: Sequence[Boost]) -> Boosts:
        """Replace the catalogue's boosts; return them."""
        body = Boosts(boosts=tuple(boosts)).model_dump(mode="json")
        return parse_answer(Boosts, self._request("PUT", f"/v1/catalogues/{catalogue}/boosts", json=body))
