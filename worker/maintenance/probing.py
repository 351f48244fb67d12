"""The recall probe: a small share of live searches is answered again, exactly, and compared.

The worker that answered a search notes what the index gave; that costs the search nothing, since its
answer is out by then. A thread of the maintenance process goes through all embeddings of the index version
in the database, page by page, and finds the true nearest. It takes them from the database and not from
Milvus, so that a row which Milvus has lost counts as not found.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, tuple_

from shared.database import Database
from shared.database.bulk import insert_rows
from shared.database.clock import now_s
from shared.database.filter_sql import where
from shared.database.tables import Detection, Image, Probe, ProbeQuery, Product
from shared.errors import VitrineError
from shared.filters import Filter, format_filter, parse
from shared.searches.queue import Claim
from worker.indexes.rows import row_key
from worker.vector_index.contract import IndexHit
from worker.vision import Embeddings

log = logging.getLogger(__name__)

#: How many of the nearest are compared.
K = 10
#: Most probes that a worker notes in a minute.
_PER_MINUTE = 6
_PAGE = 4096
#: Embeddings are stored in 16 bits: what is nearer by less is as near.
_ALIKE = 2e-3
#: What was written so shortly before a search it may not have seen: Milvus shows writes within 2 s.
_SETTLED_S = 5.0
_LOOK_S = 2.0
#: After a probe, so many times as long as it took nothing is done: a tenth of a core at most.
_REST = 10.0
_NICE = 15
#: For so long a version that has too many rows is not tried again.
_TOO_LARGE_S = 3600.0


class Version(Protocol):
    """An index version, of which only the id counts here."""

    @property
    def id(self) -> int: ...


class SearchAnswer(Protocol):
    """What is noted of an answered search: see ``worker.search.lane``."""

    @property
    def claim(self) -> Claim: ...
    @property
    def live(self) -> Version: ...
    @property
    def filter(self) -> Filter | None: ...
    @property
    def page(self) -> object | None: ...
    @property
    def embeddings(self) -> Embeddings: ...
    @property
    def hits(self) -> list[list[IndexHit]]: ...


class ProbeNotes:
    """Chooses searches by chance, and notes what the index gave them.

    Args:
        share: of the searches, 0 to 1.
    """

    def __init__(self, database: Database, share: float, chance: random.Random | None = None) -> None:
        self._database = database
        self._share = share
        self._chance = chance or random.Random()
        self._next_at = 0.0

    def note(self, answered: Sequence[SearchAnswer]) -> None:
        """Note some of the searches. Never raises: their answers are out, and a probe can be done without."""
        chosen = [query for query in answered if self._wanted(query)]
        if not chosen:
            return
        try:
            # The time of the rows is the database's, which may be away too.
            rows = [self._row(query) for query in chosen]
            with self._database.write() as session:
                insert_rows(session, ProbeQuery, rows)
        except VitrineError as error:
            log.warning("no probe: %s", error.message)

    def _wanted(self, query: SearchAnswer) -> bool:
        if self._chance.random() >= self._share or query.page is not None or not len(query.hits):
            return False
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + 60.0 / _PER_MINUTE
        return True

    def _row(self, query: SearchAnswer) -> dict[str, Any]:
        which = self._chance.randrange(len(query.hits))
        return {
            "catalogue_id": query.claim.catalogue_id,
            "index_version": query.live.id,
            "filter": None if query.filter is None else format_filter(query.filter),
            "embedding": np.asarray(query.embeddings[which], "<f4").tobytes(),
            "keys": [hit.key for hit in query.hits[which][:K]],
            "asked_at": now_s(),
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """What a probe found: how many of the ``k`` true nearest the search had, as a share."""

    k: int
    recall: float


class Prober:
    """Answers noted searches exactly.

    Args:
        most_rows: versions that have more are not probed: to go through them would take too long.
    """

    def __init__(self, database: Database, most_rows: int) -> None:
        self._database = database
        self._most_rows = most_rows
        self._too_large: dict[int, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Probe until ``stop`` is set, at the lowest priority that this thread can have."""
        if hasattr(os, "sched_getaffinity"):  # Linux, where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        rest_s = _LOOK_S
        while not stop.wait(rest_s):
            began = time.monotonic()
            try:
                while not stop.is_set() and self.probe_one():
                    spent_s = time.monotonic() - began
                    if stop.wait(_REST * spent_s):
                        return
                    began = time.monotonic()
            except VitrineError as error:
                log.warning("no probe: %s", error.message)
            except Exception:
                # Such as that the catalogue of a probe was deleted meanwhile; the next probe is another's.
                log.exception("no probe")

    def probe_one(self) -> bool:
        """Answer the oldest noted search; return whether there was one."""
        with self._database.read() as session:
            row = session.scalar(select(ProbeQuery).order_by(ProbeQuery.id).limit(1))
        if row is None:
            return False
        with self._database.write() as session:
            taken = session.scalar(delete(ProbeQuery).where(ProbeQuery.id == row.id).returning(ProbeQuery.id))
        # Another process may have been quicker; and one that dies now has lost a sample, nothing else.
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

    def _compare(self, row: ProbeQuery) -> Compared | None:
        """None where there is nothing to compare, or too much."""
        query = np.frombuffer(row.embedding, "<f4")
        rows = _rows_of(row)
        best = self._exact(query, rows, row.index_version)
        if best is None:
            return None
        there = self._scores(query, rows, row.keys)
        # Of what was changed or deleted since, nobody knows: it counts on neither side.
        k = min(len(there) if len(row.keys) == K else K, len(best))
        if k == 0:
            return None
        right = sum(score >= best[k - 1] - _ALIKE for score in there.values())
        return Compared(k, min(right, k) / k)

    def _exact(self, query: NDArray[np.float32], rows: Any, version: int) -> NDArray[np.float32] | None:
        """The scores of the ``K`` true nearest, best first; None if there are too many rows."""
        best = np.zeros(0, np.float32)
        after, seen = ("", 0), 0
        while True:
            with self._database.read() as session:
                page = session.execute(
                    rows.where(tuple_(Detection.image_id, Detection.number) > after)
                    .order_by(Detection.image_id, Detection.number)
                    .limit(_PAGE)
                ).all()
            if page:
                best = np.sort(np.concatenate([best, scores_of(query, [r.embedding for r in page])]))
                best = best[::-1][:K]
                after = page[-1].image_id, page[-1].number
            seen += len(page)
            if seen > self._most_rows:
                log.info("index version %d has more than %d rows: not probed", version, self._most_rows)
                self._too_large[version] = time.monotonic() + _TOO_LARGE_S
                return None
            if len(page) < _PAGE:
                return best

    def _scores(self, query: NDArray[np.float32], rows: Any, keys: Sequence[str]) -> dict[str, float]:
        """The scores of what the search was given, of that which is there unchanged."""
        images = {key.rpartition("-")[0] for key in keys}
        with self._database.read() as session:
            page = session.execute(rows.where(Detection.image_id.in_(images))).all()
        if not page:
            return {}
        scores = scores_of(query, [row.embedding for row in page])
        found = {row_key(row.image_id, row.number): float(s) for row, s in zip(page, scores, strict=True)}
        return {key: found[key] for key in keys if key in found}


def scores_of(query: NDArray[np.float32], stored: Sequence[bytes]) -> NDArray[np.float32]:
    """Return the cosines of a normalised query with stored embeddings."""
    rows = np.frombuffer(b"".join(stored), "<f2").reshape(len(stored), -1).astype(np.float32)
    lengths = np.maximum(np.linalg.norm(rows, axis=1), 1e-6)
    scores: NDArray[np.float32] = (rows @ query) / lengths
    return scores


def _rows_of(row: ProbeQuery) -> Any:
    """What the search could find: of its version, what passes its filter and was written before it."""
    rows = (
        select(Detection.image_id, Detection.number, Detection.embedding)
        .join(Image, Image.id == Detection.image_id)
        .join(Product, Product.id == Image.product)
        .where(
            Detection.index_version == row.index_version,
            Product.catalogue_id == row.catalogue_id,
            Product.updated_at <= row.asked_at - _SETTLED_S,
        )
    )
    return rows if row.filter is None else rows.where(where(parse(row.filter)))
