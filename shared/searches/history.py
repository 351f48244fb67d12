"""Read the data of charts: search durations by minute of the last hour, and the last recall probes.

``shared.searches.metrics`` has the figures for monitoring.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import select

from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Probe, Timing
from shared.searches.metrics import TOTAL, WINDOW_S, percentile, readable_stages

MINUTES = WINDOW_S // 60
#: Maximum number of searches read, newest first; in a busy hour the chart covers its last part.
_MAX_SEARCHES = 20_000
_MAX_PROBES = 100


@dataclass(frozen=True)
class Minute:
    """Number and duration percentiles of the searches of a minute; None without searches."""

    ago: int
    searches: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True)
class Recall:
    """A recall probe: the share, 0 to 1, of the true nearest neighbours that a search returned."""

    at: float
    catalogue: str
    k: int
    recall: float


class SearchHistory:
    def __init__(self, database: Database) -> None:
        self._database = database

    def minutes(self) -> list[Minute]:
        """Return the last sixty minutes, oldest first."""
        now = now_s()
        query = (
            select(Timing.finished_at, Timing.stages)
            .where(Timing.finished_at > now - WINDOW_S)
            .order_by(Timing.finished_at.desc())
            .limit(_MAX_SEARCHES)
        )
        taken: dict[int, list[float]] = defaultdict(list)
        with self._database.read() as session:
            for finished_at, stages in session.execute(query):
                # The clock of a worker may be slightly ahead.
                ago = min(max(int((now - finished_at) // 60), 0), MINUTES - 1)
                taken[ago].append(readable_stages(stages).get(TOTAL, 0.0))
        return [_minute(ago, sorted(taken.get(ago, []))) for ago in reversed(range(MINUTES))]

    def recalls(self) -> list[Recall]:
        """Return the last probes of existing catalogues, oldest first."""
        query = (
            select(Probe.created_at, Catalogue.name, Probe.k, Probe.recall)
            .join(Catalogue, Catalogue.id == Probe.catalogue_id)
            .where(Catalogue.deleted_name.is_(None))
            .order_by(Probe.id.desc())
            .limit(_MAX_PROBES)
        )
        with self._database.read() as session:
            return [Recall(*row) for row in session.execute(query)][::-1]


def _minute(ago: int, taken: list[float]) -> Minute:
    if not taken:
        return Minute(ago)
    return Minute(ago, len(taken), percentile(taken, 0.5), percentile(taken, 0.95))
