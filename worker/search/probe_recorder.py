"""Record a small share of live searches, so that the maintenance process can probe the index's recall.

It runs after the answers are sent, so that no search is delayed. ``worker.maintenance.probing`` repeats the
recorded searches exactly.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.database import Database
from shared.database.bulk import insert_rows
from shared.database.clock import now_s
from shared.database.tables import ProbeQuery
from shared.errors import VitrineError
from shared.filters import format_filter
from worker.maintenance.probing import K
from worker.search.stages import MatchedQuery

log = logging.getLogger(__name__)

#: Maximum number of searches that a worker records per minute.
_MAX_PER_MINUTE = 6


class ProbeRecorder:
    """Samples searches at random, and records the hits that the index returned.

    Args:
        share: of the searches, 0 to 1.
        chance: source of randomness, for tests.
    """

    def __init__(self, database: Database, share: float, chance: random.Random | None = None) -> None:
        self._database = database
        self._share = share
        self._chance = chance or random.Random()
        self._next_at = 0.0

    def note(self, answered: Sequence[MatchedQuery]) -> None:
        """Record a sample of the searches. Never raises: their answers are sent, and a probe is optional."""
        chosen = [answer for answer in answered if self._is_sampled(answer)]
        if not chosen:
            return
        try:
            # Inside the try: the rows' time is the database's clock, which may be unreachable too.
            rows = [self._row(answer) for answer in chosen]
            with self._database.write() as session:
                insert_rows(session, ProbeQuery, rows)
        except VitrineError as error:
            log.warning("no probe: %s", error.message)

    def _is_sampled(self, answer: MatchedQuery) -> bool:
        if self._chance.random() >= self._share or answer.query.page is not None or not len(answer.hits):
            return False
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + 60.0 / _MAX_PER_MINUTE
        return True

    def _row(self, answer: MatchedQuery) -> dict[str, Any]:
        query, number = answer.query, self._chance.randrange(len(answer.hits))
        return {
            "catalogue_id": query.claim.catalogue_id,
            "index_version": query.live.id,
            "filter": None if query.filter is None else format_filter(query.filter),
            "embedding": np.asarray(answer.embedded.embeddings[number], "<f4").tobytes(),
            "keys": [hit.key for hit in answer.hits[number][:K]],
            "asked_at": now_s(),
        }
