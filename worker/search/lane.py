"""The search lane: a task answers its own search, and others that wait, as one batch."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from shared.broker.result_channel import Notification, ResultNotifier
from shared.contracts import SearchResult
from shared.database import Database
from shared.database.clock import now_s
from shared.errors import IndexMissing, NotFound, OutOfMemory, Unavailable, VitrineError
from shared.filters import Filter
from shared.sandbox import PictureSandbox
from shared.searches.outcomes import SearchOutcome, search_outcomes
from shared.searches.queue import Claim, SearchQueue
from shared.storage.image_store import ImageStore
from worker.calibration.calibration_store import Calibrations
from worker.indexes.pipelines import Pipelines
from worker.indexes.versions import IndexVersion, is_filled
from worker.maintenance.probing import ProbeRecorder
from worker.search.answering import Choosing, answer_of
from worker.search.photos import Photos
from worker.search.queries import CollectionGone, Preparing
from worker.search.query import MOST_ROWS, Query, clocked
from worker.vector_index.contract import VectorIndex

log = logging.getLogger(__name__)

_RETRY_S = 2.0
#: By how much more is asked for when a group is short of products.
_MORE = 4


class BatchReport(NamedTuple):
    """What became of the searches of a task.

    Attributes:
        claimed: whether the task's own search waited, and was answered here.
        outcomes: of the task's own search, if it is known, and of all others of the batch, in any order.
    """

    claimed: bool
    outcomes: list[SearchOutcome]

    def outcome_of(self, search_id: str) -> SearchOutcome | None:
        return next((outcome for outcome in self.outcomes if outcome.id == search_id), None)


@dataclass(frozen=True)
class SearchLane:
    """Answers searches.

    Attributes:
        batch: maximum number of searches in one batch.
        pictures: decodes query images, which the web encoded, in child processes.
    """

    database: Database
    desk: SearchQueue
    store: ImageStore
    index: VectorIndex
    pipelines: Pipelines
    decoders: ThreadPoolExecutor
    pictures: PictureSandbox
    batch: int
    notifier: ResultNotifier
    probes: ProbeRecorder
    calibrations: Calibrations

    def answer(self, search_id: str) -> BatchReport:
        """Answer a search, together with others that wait; do nothing where it does not wait any more."""
        claims = self.desk.claim(self.batch, search_id)
        if claims:
            self._answer_batch(claims)
        # A row that cannot be read was claimed too, but put back: its outcome is reported all the same.
        answered = {claim.id for claim in claims}
        return BatchReport(search_id in answered, search_outcomes(self.database, [search_id, *answered]))

    def answer_waiting(self) -> None:
        """Answer every search that waits, without messages: for benchmarks and tests in one process."""
        while claims := self.desk.claim(self.batch):
            self._answer_batch(claims)

    def _answer_batch(self, claims: Sequence[Claim]) -> None:
        """Answer claims together; whatever goes wrong with several is tried on each alone."""
        try:
            try:
                queries = self._answered(claims)
            except (CollectionGone, IndexMissing):
                # Pruned or rebuilt a moment after it was read which one is live; that one is there.
                queries = self._answered(claims)
        except Unavailable as error:
            blame = isinstance(error, OutOfMemory)
            log.warning("searches wait: %s", error.message)
            self.desk.postpone(claims, _RETRY_S, error.code, error.message, count_attempt=blame)
        except Exception as error:
            if len(claims) > 1:
                for claim in claims:
                    self._answer_batch([claim])
                return
            self._fail(claims[0], error)
        else:
            kept = {query.claim.id: query.kept for query, _ in queries if query.kept is not None}
            answered = self.desk.answer([(query.claim, result) for query, result in queries], kept)
            self.notifier.notify([Notification(*each) for each in answered])
            self.probes.note([query for query, _ in queries])

    def _fail(self, claim: Claim, error: Exception) -> None:
        if isinstance(error, VitrineError):
            self.desk.fail(claim, error.code, error.message)
        else:
            log.exception("search %s failed", claim.id)
            self.desk.fail(claim, "internal", "Something went wrong with this search; the log says what.")
        self.notifier.notify([Notification(claim.id)])

    def _answered(self, claims: Sequence[Claim]) -> list[tuple[Query, SearchResult]]:
        taken_at = now_s()
        queries = self._preparing.prepare(claims, self._fail)
        for query in queries:
            query.spent("wait", max(1000 * (taken_at - query.claim.created_at), 0.0))
        choosing = Choosing(self.database, queries)
        short = queries
        while short:
            with clocked(short, "search"):
                self._search(short)
            with clocked(short, "hydrate"):
                choosing.choose(short)
            # Products have several rows, another group may show them, and some are gone: ask for more.
            short = [query for query in short if query.limit < MOST_ROWS and choosing.is_short(query)]
            for query in short:
                query.limit = min(_MORE * query.limit, MOST_ROWS)
        with clocked(queries, "hydrate"):
            answers = [answer_of(query, choosing.hydrator(query)) for query in queries]
        return [
            (q, r.model_copy(update={"timings_ms": {k: round(v, 2) for k, v in q.timings_ms.items()}}))
            for q, r in zip(queries, answers, strict=True)
        ]

    @cached_property
    def _photos(self) -> Photos:
        return Photos(self.store, self.pictures)

    @cached_property
    def _preparing(self) -> Preparing:
        return Preparing(
            self.database,
            self.desk,
            self._photos,
            self.pipelines,
            self.decoders,
            self.calibrations,
        )

    def _search(self, queries: Sequence[Query]) -> None:
        """One call to Milvus for all queries that go to the same place with the same filter."""
        groups: dict[tuple[IndexVersion, Filter | None, int], list[Query]] = defaultdict(list)
        for query in queries:
            groups[query.live, query.filter, query.limit].append(query)
        for (live, filter_, limit), members in groups.items():
            vectors = np.concatenate([query.embeddings for query in members])
            try:
                # The collection and not the alias, which another version may have the moment after.
                found = self.index.search(live.collection, vectors, limit, filter_)
            except NotFound as error:
                raise self._gone(members[0]) from error
            start = 0
            for query in members:
                query.hits = found[start : start + len(query.embeddings)]
                start += len(query.embeddings)

    def _gone(self, query: Query) -> VitrineError:
        """Return the error of a query whose collection Milvus does not have."""
        with self.database.read() as session:
            filled = is_filled(session, query.live.id)
        if not filled:
            return CollectionGone("The catalogue's first import has just begun.")
        name = query.claim.catalogue
        return IndexMissing(
            f"The index of catalogue {name!r} is missing: `vitrine rebuild {name}` writes it again from the "
            "database."
        )
