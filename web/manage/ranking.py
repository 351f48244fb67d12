"""What a catalogue's scores mean, and what it shows first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from werkzeug.wrappers import Response as AnyResponse

from shared.catalogue.ranking import KIND, RankingRepository
from shared.contracts import ENDED_STATES, JobOut
from shared.contracts.ranking import CalibrationOut
from shared.contracts.search import Boost
from web.api.accepting import accepting_work
from web.api.catalogues import checked
from web.manage.frame import blueprint, to_job
from web.services import services


@dataclass(frozen=True)
class Meaning:
    """What is known of the live version's scores.

    Attributes:
        made_at: when it was learnt; None where that was never tried.
        why_not: in English, where there was too little to learn from.
        object_error, whole_error: mean distance between what is said of first hits and what is true, 0 to 1,
            on photos that were not learnt from; None where it was not measured.
        going_on: jobs that learn it now.
        boosts: in force for searches that say nothing else.
    """

    made_at: datetime | None
    why_not: str | None
    object_error: float | None
    whole_error: float | None
    going_on: Sequence[JobOut]
    boosts: Sequence[Boost]


def meaning_of(catalogue: str, jobs: Sequence[JobOut]) -> Meaning:
    """Return what the catalogue's page says of scores; ``jobs`` are its latest."""
    ledger = RankingRepository(services().database)
    live = next((each for each in ledger.calibrations(catalogue) if each.live), None)
    return Meaning(
        made_at=live.created_at if live else None,
        why_not=None if live is None or live.calibrated else live.report.get("why_not") or "",
        object_error=_error(live, "object"),
        whole_error=_error(live, "whole"),
        going_on=[job for job in jobs if job.kind == KIND and job.state not in ENDED_STATES],
        boosts=ledger.boosts(catalogue).boosts,
    )


def _error(found: CalibrationOut | None, part: str) -> float | None:
    if found is None or not found.calibrated:
        return None
    error: float | None = found.report.get("same", {}).get(part, {}).get("first", {}).get("ece")
    return error


@blueprint.post("/manage/catalogues/<catalogue>/calibrate")
@accepting_work
def calibrate(catalogue: str) -> AnyResponse:
    """Learn what the live version's scores mean."""
    return to_job(RankingRepository(services().database).calibrate(checked("catalogue", catalogue)))
