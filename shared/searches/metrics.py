"""How searches do: what their stages take, how many there are, and how complete their answers are.

All figures come from the database, where every worker writes them: it does not matter which process is
asked, nor how many there are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Integer, cast, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.contracts.signals import RecallFigures, Signals, StageFigures
from shared.contracts.states import IndexState
from shared.contracts.stored import as_object
from shared.database import Database, execute_rowcount
from shared.database.bulk import insert_rows
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Catalogue, IndexVersionRow, Probe, ProbeQuery, StageCount, Timing

WINDOW_S = 3600
#: Upper ends of the histogram's buckets, in seconds; what took longer is in one more.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TOTAL = "total"
#: Most searches from which percentiles are told: the newest.
_NEWEST = 5_000
#: Probes of an index version from which recall is told.
_PROBES = 100
_COUNTED_TOGETHER = 1000
#: Length of a stage's name in `stage_counts`, and above what a time is no time.
_STAGE_CHARS, _MOST_MS = 16, 1e12
_KEEP_TIMINGS_S, _KEEP_PROBES_S, _KEEP_QUERIES_S = 2.0 * WINDOW_S, 30 * 86_400.0, 3600.0


@dataclass
class StageHistogram:
    """How many searches ever took how long in a stage.

    Attributes:
        counts: by bucket, one more than ``BOUNDS_S``; not cumulative.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_ms: float = 0.0


def note_timings(connection: Connection, searches: Iterable[tuple[float, dict[str, float]]]) -> None:
    """Write what searches took, in the transaction that answers them.

    Args:
        searches: when each was asked, and the milliseconds of its stages.
    """
    now = now_s()
    rows = [
        {
            "finished_at": now,
            "stages": {**stages, TOTAL: round(1000 * max(now - asked_at, 0.0), 2)},
            "counted": False,
        }
        for asked_at, stages in searches
    ]
    insert_rows(connection, Timing, rows)


class SearchMetricsRepository:
    """Tells the figures, and keeps what they are told from small."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_metrics(self) -> Signals:
        """Return the figures of now."""
        now = now_s()
        with self._database.read() as session:
            newest = session.scalars(
                select(Timing.stages)
                .where(Timing.finished_at > now - WINDOW_S)
                .order_by(Timing.finished_at.desc())
                .limit(_NEWEST)
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
        """Return what was counted so far, by stage; it only grows."""
        found: dict[str, StageHistogram] = defaultdict(StageHistogram)
        with self._database.read() as session:
            for row in session.scalars(select(StageCount)):
                found[row.stage].counts[row.bucket] += row.count
                found[row.stage].total_ms += row.total_ms
        return dict(found)

    def recall(self) -> list[RecallFigures]:
        """Return the recall of the live index versions that were probed."""
        with self._database.read() as session:
            return _recall(session)

    def count(self) -> int:
        """Add what is new to the histograms, once each; return how many searches that were."""
        counted = 0
        while some := self._count_some():
            counted += some
        return counted

    def delete_expired(self) -> int:
        """Delete what no figure is told from any more."""
        now = now_s()
        old = (
            delete(Timing).where(Timing.finished_at < now - _KEEP_TIMINGS_S, Timing.counted),
            delete(Probe).where(Probe.created_at < now - _KEEP_PROBES_S),
            delete(ProbeQuery).where(ProbeQuery.asked_at < now - _KEEP_QUERIES_S),
        )
        with self._database.write() as session:
            return sum(execute_rowcount(session, statement) for statement in old)

    def _count_some(self) -> int:
        with self._database.read() as session:
            ids = session.scalars(
                select(Timing.id).where(Timing.counted.is_(False)).limit(_COUNTED_TOGETHER)
            ).all()
        if not ids:
            return 0
        try:
            with self._database.write() as session:
                # Another sweeper may count them at the same moment: the flag is asked again.
                stages = session.scalars(
                    update(Timing)
                    .where(Timing.id.in_(ids), Timing.counted.is_(False))
                    .values(counted=True)
                    .returning(Timing.stages)
                ).all()
                _add(session, stages)
        except IntegrityError:
            return 0  # the other one wrote the first row of a bucket; the next sweep counts these
        return len(ids)


def bucket_of(milliseconds: float) -> int:
    """Return the number of the bucket."""
    return bisect_left(BOUNDS_S, milliseconds / 1000)


def readable_stages(stages: Any) -> dict[str, float]:
    """Return the times of a search's stages, without what is no stage: one row must not end the count."""
    return {
        name: float(ms)
        for name, ms in as_object(stages).items()
        if len(name) <= _STAGE_CHARS and isinstance(ms, int | float) and abs(ms) < _MOST_MS
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    place = max(-(-len(ordered) * share // 1), 1)
    return ordered[int(place) - 1]


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
        # A worker's clock may be a little ahead of this one.
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
            select(Probe).where(Probe.index_version == version_id).order_by(Probe.id.desc()).limit(_PROBES)
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
