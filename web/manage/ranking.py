"""Calibration and boosts on a catalogue's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from werkzeug.wrappers import Response as AnyResponse

from shared.catalogue.ranking import KIND
from shared.contracts import ENDED_STATES, JobOut
from shared.contracts.ranking import CalibrationOut
from shared.contracts.search import Boost
from shared.contracts.stored import look_up
from web.api.catalogues import check_name
from web.http.security import creates_work
from web.manage.frame import blueprint, redirect_to_job
from web.services import services


@dataclass(frozen=True)
class RankingSummary:
    """The calibration of the live index version, and the boosts.

    Attributes:
        calibrated_at: time of the last calibration; None if there was none.
        failure_reason: in English, if the data was too little to calibrate; else None.
        object_error, photo_error: expected calibration error of first hits, 0 to 1, on held-out photos;
            None if it was not measured.
        open_jobs: calibration jobs that have not ended.
        boosts: defaults for searches without boosts of their own.
    """

    calibrated_at: datetime | None
    failure_reason: str | None
    object_error: float | None
    photo_error: float | None
    open_jobs: Sequence[JobOut]
    boosts: Sequence[Boost]


def load_ranking_summary(catalogue: str, jobs: Sequence[JobOut]) -> RankingSummary:
    """Load the ranking summary of a catalogue; ``jobs`` are its latest."""
    repository = services().ranking
    live = next((each for each in repository.calibrations(catalogue) if each.live), None)
    return RankingSummary(
        calibrated_at=live.created_at if live else None,
        failure_reason=None if live is None or live.calibrated else live.report.get("why_not") or "",
        object_error=_calibration_error(live, "object"),
        photo_error=_calibration_error(live, "whole"),
        open_jobs=[job for job in jobs if job.kind == KIND and job.state not in ENDED_STATES],
        boosts=repository.boosts(catalogue).boosts,
    )


def _calibration_error(calibration: CalibrationOut | None, part: str) -> float | None:
    if calibration is None or not calibration.calibrated:
        return None
    error = look_up(calibration.report, "same", part, "first", "ece")
    return error if isinstance(error, float) else None


@blueprint.post("/manage/catalogues/<catalogue>/calibrate")
@creates_work
def calibrate_scores(catalogue: str) -> AnyResponse:
    """Start the calibration of the live index version."""
    return redirect_to_job(services().ranking.calibrate(check_name("catalogue", catalogue)))
