"""Metrics of searches: durations of stages, counts, and recall.

All workers write their measurements to the database (``SearchQueue.answer``), so that every process reports
the same figures.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Integer, cast, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.contracts.signals import RecallFigures, Signals, StageFigures
from shared.contracts.states import IndexState
from shared.contracts.stored import as_object
from shared.database import Database, execute_rowcount
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Catalogue, IndexVersionRow, Probe, ProbeQuery, StageCount, Timing

WINDOW_S = 3600
#: Upper bounds of the histogram's buckets in seconds; one more bucket has the rest.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TOTAL = "total"
#: Maximum number of searches that percentiles are computed from, newest first.
_MAX_TIMINGS = 5_000
#: Maximum number of probes of an index version that recall is computed from, newest first.
_MAX_PROBES = 100
_TIMINGS_PER_TRANSACTION = 1000
#: Maximum length of a stage's name in `stage_counts`; larger durations than the maximum are damaged rows.
_MAX_STAGE_CHARS, _MAX_STAGE_MS = 16, 1e12
_KEEP_TIMINGS_S, _KEEP_PROBES_S, _KEEP_QUERIES_S = 2.0 * WINDOW_S, 30 * 86_400.0, 3600.0


@dataclass
class StageHistogram:
    """Histogram of the durations of a stage since the installation.

    Attributes:
        counts: by bucket, one more than ``BOUNDS_S``; not cumulative.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_ms: float = 0.0


class SearchMetricsRepository:
    """Computes metrics, and deletes measurements that no metric needs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_metrics(self) -> Signals:
        """Return the current metrics."""
        now = now_s()
        with self._database.read() as session:
            newest = session.scalars(
                select(Timing.stages)
                .where(Timing.finished_at > now - WINDOW_S)
                .order_by(Timing.finished_at.desc())
                .limit(_MAX_TIMINGS)
            ).all()
            minutes = _by_minute(session, now, self._database.is_sqlite)
            recall = _recall(session)
        return Signals(
            window_s=WINDOW_S,
            searches=sum(minutes),
            per_minute=minutes,
            stages_ms=_figures(newest),
            recall=recall,
        )

    def histograms(self) -> dict[str, StageHistogram]:
        """Return the histograms by stage; counts never decrease."""
        found: dict[str, StageHistogram] = defaultdict(StageHistogram)
        with self._database.read() as session:
            for row in session.scalars(select(StageCount)):
                found[row.stage].counts[row.bucket] += row.count
                found[row.stage].total_ms += row.total_ms
        return dict(found)

    def recall(self) -> list[RecallFigures]:
        """Return the recall of live index versions that have probes."""
        with self._database.read() as session:
            return _recall(session)

    def count(self) -> int:
        """Add new searches to the histograms, each once; return their number."""
        counted = 0
        while batch := self._count_batch():
            counted += batch
        return counted

    def delete_expired(self) -> int:
        """Delete measurements that no metric uses any more; return their number."""
        now = now_s()
        old = (
            delete(Timing).where(Timing.finished_at < now - _KEEP_TIMINGS_S, Timing.counted),
            delete(Probe).where(Probe.created_at < now - _KEEP_PROBES_S),
            delete(ProbeQuery).where(ProbeQuery.asked_at < now - _KEEP_QUERIES_S),
        )
        with self._database.write() as session:
            return sum(execute_rowcount(session, statement) for statement in old)

    def _count_batch(self) -> int:
        with self._database.read() as session:
            ids = session.scalars(
                select(Timing.id).where(Timing.counted.is_(False)).limit(_TIMINGS_PER_TRANSACTION)
            ).all()
        if not ids:
            return 0
        try:
            with self._database.write() as session:
                # Another sweeper may count them concurrently, so the flag is checked again.
                stages = session.scalars(
                    update(Timing)
                    .where(Timing.id.in_(ids), Timing.counted.is_(False))
                    .values(counted=True)
                    .returning(Timing.stages)
                ).all()
                _add(session, stages)
        except IntegrityError:
            return 0  # another sweeper inserted the first row of a bucket; the next sweep counts these
        return len(ids)


def bucket_of(milliseconds: float) -> int:
    """Return the index of the bucket of a duration."""
    return bisect_left(BOUNDS_S, milliseconds / 1000)


def readable_stages(stages: Any) -> dict[str, float]:
    """Return the valid stage durations of a row, so that a damaged row does not stop the count."""
    return {
        name: float(ms)
        for name, ms in as_object(stages).items()
        if len(name) <= _MAX_STAGE_CHARS and isinstance(ms, int | float) and abs(ms) < _MAX_STAGE_MS
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the sorted values does not exceed."""
    rank = max(-(-len(ordered) * share // 1), 1)
    return ordered[int(rank) - 1]


def _add(session: Session, searches: Sequence[dict[str, float]]) -> None:
    fresh: dict[tuple[str, int], tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for stages in searches:
        for stage, ms in readable_stages(stages).items():
            count, total_ms = fresh[stage, bucket_of(ms)]
            fresh[stage, bucket_of(ms)] = count + 1, total_ms + ms
    known = {
        (row.stage, row.bucket): row
        for row in session.scalars(
            select(StageCount).order_by(StageCount.stage, StageCount.bucket).with_for_update()
        )
    }
    for (stage, bucket), (count, total_ms) in fresh.items():
        row = known.get((stage, bucket))
        if row is None:
            session.add(StageCount(stage=stage, bucket=bucket, count=count, total_ms=total_ms))
        else:
            row.count += count
            row.total_ms += total_ms


def _figures(searches: Sequence[dict[str, float]]) -> dict[str, StageFigures]:
    by_stage: dict[str, list[float]] = defaultdict(list)
    for stages in searches:
        for stage, ms in readable_stages(stages).items():
            by_stage[stage].append(ms)
    found = {}
    for stage, taken in by_stage.items():
        taken.sort()
        p50, p95, p99 = (percentile(taken, share) for share in (0.5, 0.95, 0.99))
        found[stage] = StageFigures(count=len(taken), p50=p50, p95=p95, p99=p99)
    return found


def _by_minute(session: Session, now: float, sqlite: bool) -> list[int]:
    minutes = WINDOW_S // 60
    ago = (now - Timing.finished_at) / 60
    # SQLite may be built without `floor`, and PostgreSQL rounds what it casts.
    age = cast(ago, Integer) if sqlite else func.floor(ago)
    counted = session.execute(
        select(age, func.count()).where(Timing.finished_at > now - WINDOW_S).group_by(age)
    )
    found = [0] * minutes
    for minutes_ago, count in counted:
        # The clock of a worker may be slightly ahead.
        found[minutes - 1 - min(max(int(minutes_ago), 0), minutes - 1)] += count
    return found


def _recall(session: Session) -> list[RecallFigures]:
    live = session.execute(
        select(IndexVersionRow.id, IndexVersionRow.number, Catalogue.name)
        .join(Catalogue, Catalogue.id == IndexVersionRow.catalogue_id)
        .where(IndexVersionRow.state == IndexState.LIVE)
        .order_by(Catalogue.name)
    ).all()
    found = []
    for version_id, number, name in live:
        last = session.scalars(
            select(Probe)
            .where(Probe.index_version == version_id)
            .order_by(Probe.id.desc())
            .limit(_MAX_PROBES)
        ).all()
        if last:
            shares = [probe.recall for probe in last]
            found.append(
                RecallFigures.model_validate(
                    {
                        "catalogue": name,
                        "index": number,
                        "k": max(probe.k for probe in last),
                        "probes": len(last),
                        "recall": round(sum(shares) / len(shares), 4),
                        "worst": round(min(shares), 4),
                        "newest_at": to_datetime(last[0].created_at),
                    }
                )
            )
    return found
