"""The search lane: a task answers its own search, together with others that wait, as one batch."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from shared.broker.result_channel import Notification, ResultNotifier
from shared.contracts import SearchResult
from shared.contracts.states import SearchState
from shared.database import Database
from shared.database.clock import now_s
from shared.errors import IndexMissing, NotFound, OutOfMemory, Unavailable, VitrineError
from shared.filters import Filter
from shared.sandbox.pool import PictureSandbox
from shared.searches.outcomes import SearchOutcome, search_outcomes
from shared.searches.queue import Claim, SearchQueue
from shared.storage.image_store import ImageStore
from worker.calibration.calibration_store import Calibrations
from worker.indexes.pipelines import Pipelines
from worker.indexes.versions import IndexVersion, is_filled
from worker.search.answering import build_result, find_min_scores
from worker.search.candidates import CandidateTable, choose_available, open_tables
from worker.search.choosing import is_short, rank
from worker.search.embedding import CollectionGone, QueryEmbedder
from worker.search.locating import MAX_ROWS, QueryLocator
from worker.search.probe_recorder import ProbeRecorder
from worker.search.stages import Choice, EmbeddedQuery, MatchedQuery, Query
from worker.vector_index.contract import VectorIndex

log = logging.getLogger(__name__)

_RETRY_S = 2.0
#: Factor by which more rows are requested when a group is short of products.
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
    queue: SearchQueue
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
        """Answer a search, together with others that wait; do nothing if it does not wait any more."""
        claims = self.queue.claim(self.batch, search_id)
        outcomes = self._answer_batch(claims) if claims else []
        claimed, answered = {claim.id for claim in claims}, {outcome.id for outcome in outcomes}
        # A failed search, or one that another worker or its client ended, is reported as its row is. So is
        # an unreadable one, which was claimed and put back.
        if unknown := list(({search_id} | claimed) - answered):
            outcomes = [*outcomes, *search_outcomes(self.database, unknown)]
        return BatchReport(search_id in claimed, outcomes)

    def answer_waiting(self) -> None:
        """Answer every search that waits, without messages: for benchmarks and tests in one process."""
        while claims := self.queue.claim(self.batch):
            self._answer_batch(claims)

    def _answer_batch(self, claims: Sequence[Claim]) -> list[SearchOutcome]:
        """Answer claims together, or each alone if the batch fails; return the outcomes of the answered."""
        try:
            try:
                answers = self._find_answers(claims)
            except (CollectionGone, IndexMissing):
                # The live version was pruned or rebuilt right after it was read; its successor exists.
                answers = self._find_answers(claims)
        except Unavailable as error:
            blame = isinstance(error, OutOfMemory)
            log.warning("searches wait: %s", error.message)
            self.queue.postpone(claims, _RETRY_S, error.code, error.message, count_attempt=blame)
        except Exception as error:
            if len(claims) > 1:
                return [outcome for claim in claims for outcome in self._answer_batch([claim])]
            self._fail(claims[0], error)
        else:
            queries = [query for query, _ in answers]
            embeddings = {
                query.query.claim.id: query.embedded.to_store
                for query in queries
                if query.embedded.to_store is not None
            }
            stored = self.queue.answer([(query.query.claim, result) for query, result in answers], embeddings)
            self.notifier.notify([Notification(each.id, each.status) for each in stored])
            self.probes.note(queries)
            return [SearchOutcome(each.id, SearchState.SUCCEEDED, each.runtime_s, "") for each in stored]
        return []

    def _fail(self, claim: Claim, error: Exception) -> None:
        if isinstance(error, VitrineError):
            self.queue.fail(claim, error.code, error.message)
        else:
            log.exception("search %s failed", claim.id)
            self.queue.fail(claim, "internal", "Something went wrong with this search; the log says what.")
        self.notifier.notify([Notification(claim.id)])

    def _find_answers(self, claims: Sequence[Claim]) -> list[tuple[MatchedQuery, SearchResult]]:
        """Embed, match, choose and build the results of claims; those that fail alone are left out."""
        claimed_at = now_s()
        embedded = self._embedder.embed(self._locator.locate(claims, self._fail), self._fail)
        queries = [each.query for each in embedded]
        tables = open_tables(self.database, queries)
        choices = self._find_choices(embedded, tables)
        with _timed(queries, "hydrate"):
            results = [build_result(query, choice, tables[query.query.live.id]) for query, choice in choices]
        for query in queries:
            query.timings_ms["wait"] = max(1000 * (claimed_at - query.claim.created_at), 0.0)
        answers = []
        for (matched, _), result in zip(choices, results, strict=True):
            timings_ms = {stage: round(ms, 2) for stage, ms in matched.query.timings_ms.items()}
            answers.append((matched, result.model_copy(update={"timings_ms": timings_ms})))
        return answers

    def _find_choices(
        self, embedded: Sequence[EmbeddedQuery], tables: dict[int, CandidateTable]
    ) -> list[tuple[MatchedQuery, Choice]]:
        """Search the index until every group is full or the index has no more; return what is shown."""
        limits = {each.query.claim.id: each.query.limit for each in embedded}
        found = []
        while embedded:
            queries = [each.query for each in embedded]
            with _timed(queries, "search"):
                matched = self._match(embedded, limits)
            with _timed(queries, "hydrate"):
                ranked = [rank(query, find_min_scores(query)) for query in matched]
                choices = choose_available(ranked, tables)
            # Products have several rows, other groups show them, and some are gone: request more rows.
            short = []
            for each, choice in zip(ranked, choices, strict=True):
                query = each.matched
                if query.limit < MAX_ROWS and is_short(each, choice):
                    limits[query.query.claim.id] = min(_MORE * query.limit, MAX_ROWS)
                    short.append(query.embedded)
                else:
                    found.append((query, choice))
            embedded = short
        return found

    @cached_property
    def _locator(self) -> QueryLocator:
        return QueryLocator(self.database, self.queue, self.pipelines, self.calibrations)

    @cached_property
    def _embedder(self) -> QueryEmbedder:
        return QueryEmbedder(self.database, self.store, self.pictures, self.decoders)

    def _match(self, queries: Sequence[EmbeddedQuery], limits: dict[str, int]) -> list[MatchedQuery]:
        """Find the neighbours of all queries, with one call to Milvus per version, filter and limit."""
        groups: dict[tuple[IndexVersion, Filter | None, int], list[EmbeddedQuery]] = defaultdict(list)
        for query in queries:
            limit = limits[query.query.claim.id]
            groups[query.query.live, query.query.filter, limit].append(query)
        matched = []
        for (live, filter_, limit), members in groups.items():
            vectors = np.concatenate([query.embeddings for query in members])
            try:
                # The collection, not the alias, which may name another version a moment later.
                hits = iter(self.index.search(live.collection, vectors, limit, filter_))
            except NotFound as error:
                raise self._explain_missing(members[0]) from error
            matched += [
                MatchedQuery(query.query, query, limit, [next(hits) for _ in query.embeddings])
                for query in members
            ]
        return matched

    def _explain_missing(self, query: EmbeddedQuery) -> VitrineError:
        """Return the error of a query whose collection Milvus does not have."""
        with self.database.read() as session:
            filled = is_filled(session, query.query.live.id)
        if not filled:
            return CollectionGone("The catalogue's first import has just begun.")
        name = query.query.claim.catalogue
        return IndexMissing(
            f"The index of catalogue {name!r} is missing: `vitrine rebuild {name}` writes it again from the "
            "database."
        )


@contextmanager
def _timed(queries: Sequence[Query], stage: str) -> Iterator[None]:
    """Add the duration of the block to the stage of each query: each waits for its whole batch."""
    began = time.perf_counter()
    yield
    spent_ms = 1000 * (time.perf_counter() - began)
    for query in queries:
        query.timings_ms[stage] = query.timings_ms.get(stage, 0.0) + spent_ms
