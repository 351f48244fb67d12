"""Probe the recall of the index: repeat a small share of live searches exactly, and compare.

The worker that answered a search records the index's hits (``worker.search.probe_recorder``). A thread of the
maintenance process then scans all embeddings of the index version in the
database, page by page, for the true nearest neighbours. It reads the database and not Milvus, so that a row
which Milvus lost counts as missed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, tuple_

from shared.database import Database
from shared.database.clock import now_s
from shared.database.filter_sql import where
from shared.database.tables import Detection, Image, Probe, ProbeQuery, Product
from shared.errors import VitrineError
from shared.filters import parse
from worker.indexes.rows import row_key

log = logging.getLogger(__name__)

#: Number of nearest neighbours that are compared: recall@K.
K = 10
#: Embeddings read from the database at a time.
_PAGE_ROWS = 4096
#: Scores that differ by less count as equal: embeddings are stored in 16 bits.
_SCORE_TOLERANCE = 2e-3
#: Rows written within this time before a search are left out: Milvus shows writes within 2 s.
_VISIBILITY_DELAY_S = 5.0
_POLL_INTERVAL_S = 2.0
#: Pause after a probe as a multiple of its duration, so that probing takes a tenth of a core at most.
_PAUSE_FACTOR = 10.0
_NICENESS = 15
#: Cool-down before an index version with too many rows is tried again.
_TOO_LARGE_COOLDOWN_S = 3600.0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The share of the ``k`` true nearest neighbours that a search returned."""

    k: int
    recall: float


class Prober:
    """Repeats recorded searches exactly.

    Args:
        max_rows: index versions with more rows are not probed, because a scan would take too long.
    """

    def __init__(self, database: Database, max_rows: int) -> None:
        self._database = database
        self._max_rows = max_rows
        self._too_large: dict[int, float] = {}  # by version: when it may be tried again, monotonic

    def run(self, stop: threading.Event) -> None:
        """Probe until ``stop`` is set, at the lowest priority that this thread may have."""
        if hasattr(os, "sched_getaffinity"):  # only Linux has a priority per thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not stop.wait(_POLL_INTERVAL_S):
            began = time.monotonic()
            try:
                while not stop.is_set() and self.probe_one():
                    spent_s = time.monotonic() - began
                    if stop.wait(_PAUSE_FACTOR * spent_s):
                        return
                    began = time.monotonic()
            except VitrineError as error:
                log.warning("no probe: %s", error.message)
            except Exception:
                # For example, the catalogue of this probe was deleted; the next probe may have another one.
                log.exception("no probe")

    def probe_one(self) -> bool:
        """Repeat the oldest recorded search; return whether there was one."""
        with self._database.read() as session:
            row = session.scalar(select(ProbeQuery).order_by(ProbeQuery.id).limit(1))
        if row is None:
            return False
        with self._database.write() as session:
            taken = session.scalar(delete(ProbeQuery).where(ProbeQuery.id == row.id).returning(ProbeQuery.id))
        # None: another process claimed it first. A process that dies here loses one sample, nothing else.
        if taken is None or self._too_large.get(row.index_version, 0.0) > time.monotonic():
            return True
        found = self._compare(row)
        if found is not None:
            with self._database.write() as session:
                session.add(
                    Probe(
                        catalogue_id=row.catalogue_id,
                        index_version=row.index_version,
                        k=found.k,
                        recall=found.recall,
                        created_at=now_s(),
                    )
                )
        return True

    def _compare(self, row: ProbeQuery) -> ProbeResult | None:
        """Return the recall of a search, None where there are no rows to compare, or too many."""
        query = np.frombuffer(row.embedding, "<f4")
        rows = _select_searchable(row)
        best = self._scan_best(query, rows, row.index_version)
        if best is None:
            return None
        returned = self._score_keys(query, rows, row.keys)
        # Hits that were changed or deleted since are unknown, and count on neither side.
        k = min(len(returned) if len(row.keys) == K else K, len(best))
        if k == 0:
            return None
        right = sum(score >= best[k - 1] - _SCORE_TOLERANCE for score in returned.values())
        return ProbeResult(k, min(right, k) / k)

    def _scan_best(self, query: NDArray[np.float32], rows: Any, version: int) -> NDArray[np.float32] | None:
        """Return the scores of the ``K`` true nearest, best first; None if there are too many rows."""
        best = np.zeros(0, np.float32)
        after, scanned = ("", 0), 0
        while True:
            with self._database.read() as session:
                page = session.execute(
                    rows.where(tuple_(Detection.image_id, Detection.number) > after)
                    .order_by(Detection.image_id, Detection.number)
                    .limit(_PAGE_ROWS)
                ).all()
            if page:
                best = np.sort(np.concatenate([best, cosine_scores(query, [r.embedding for r in page])]))
                best = best[::-1][:K]
                after = page[-1].image_id, page[-1].number
            scanned += len(page)
            if scanned > self._max_rows:
                log.info("index version %d has more than %d rows: not probed", version, self._max_rows)
                self._too_large[version] = time.monotonic() + _TOO_LARGE_COOLDOWN_S
                return None
            if len(page) < _PAGE_ROWS:
                return best

    def _score_keys(self, query: NDArray[np.float32], rows: Any, keys: Sequence[str]) -> dict[str, float]:
        """Return the exact scores of the hits that a search returned and that are unchanged since."""
        images = {key.rpartition("-")[0] for key in keys}
        with self._database.read() as session:
            page = session.execute(rows.where(Detection.image_id.in_(images))).all()
        if not page:
            return {}
        scores = cosine_scores(query, [row.embedding for row in page])
        found = {row_key(row.image_id, row.number): float(s) for row, s in zip(page, scores, strict=True)}
        return {key: found[key] for key in keys if key in found}


def cosine_scores(query: NDArray[np.float32], stored: Sequence[bytes]) -> NDArray[np.float32]:
    """Return the cosines ``(N,)`` of a normalised query ``(D,)`` with N stored embeddings."""
    rows = np.frombuffer(b"".join(stored), "<f2").reshape(len(stored), -1).astype(np.float32)
    lengths = np.maximum(np.linalg.norm(rows, axis=1), 1e-6)
    scores: NDArray[np.float32] = (rows @ query) / lengths
    return scores


def _select_searchable(row: ProbeQuery) -> Any:
    """Select the rows that a search could find: of its version and filter, and written before it."""
    rows = (
        select(Detection.image_id, Detection.number, Detection.embedding)
        .join(Image, Image.id == Detection.image_id)
        .join(Product, Product.id == Image.product)
        .where(
            Detection.index_version == row.index_version,
            Product.catalogue_id == row.catalogue_id,
            Product.updated_at <= row.asked_at - _VISIBILITY_DELAY_S,
        )
    )
    return rows if row.filter is None else rows.where(where(parse(row.filter)))
