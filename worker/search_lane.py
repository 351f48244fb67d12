"""The search lane: every search that waits is taken, and all are answered as one batch."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from shared.answered import Announcer
from shared.contracts import SearchResult
from shared.database import Database
from shared.errors import (
    IndexUnavailable,
    InvalidInput,
    NotFound,
    OutOfMemory,
    Unavailable,
    UnknownProduct,
    VitrineError,
)
from shared.filters import Filter, category_is
from shared.image_store import ImageStore
from shared.images import ImageLimits, decode
from shared.ledger import now_s
from shared.ledger.search_desk import Claim, SearchDesk
from worker.hydrate import Hydrator, photo_result, product_embeddings, product_result
from worker.index_versions import LiveIndex, live_index
from worker.pipeline import Pipeline, QueryEmbedding, QueryOptions
from worker.pipelines import Pipelines
from worker.vision import Embeddings, Image, IndexHit, VectorIndex

log = logging.getLogger(__name__)

#: A product has several rows (one an image), so more are fetched than products are wanted.
_OVER_FETCH = 4
_MOST_ROWS = 4096
_RETRY_S = 2.0


class CollectionGone(IndexUnavailable):
    """What a search was to be made in is there no longer."""


@dataclass(slots=True)
class Query:
    """A claimed search on its way through the stages."""

    claim: Claim
    live: LiveIndex
    pipeline: Pipeline
    image: Image | None = None
    embedding: QueryEmbedding | None = None
    hits: list[list[IndexHit]] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchLane:
    """Answers searches.

    Attributes:
        batch: most searches in one batch.
        limits: of what may be decoded; query images were normalised by the web already.
    """

    database: Database
    desk: SearchDesk
    store: ImageStore
    index: VectorIndex
    pipelines: Pipelines
    decoders: ThreadPoolExecutor
    limits: ImageLimits
    batch: int
    announcer: Announcer

    def answer_waiting(self) -> int:
        """Answer searches until none waits; return how many were taken."""
        taken = 0
        # One doorbell does not work for ever: a hung call must be told from a long queue.
        until = time.monotonic() + 10.0
        while time.monotonic() < until and (claims := self.desk.claim(self.batch)):
            taken += len(claims)
            self._answer_batch(claims)
        return taken

    def _answer_batch(self, claims: Sequence[Claim]) -> None:
        """Answer claims together; whatever goes wrong with several is tried on each alone."""
        try:
            try:
                answers = self._answers(claims)
            except CollectionGone:
                # Pruned or rebuilt a moment after it was read which one is live; that one is there.
                answers = self._answers(claims)
        except Unavailable as error:
            blame = isinstance(error, OutOfMemory)
            log.warning("searches wait: %s", error.message)
            self.desk.postpone(claims, _RETRY_S, error.code, error.message, blame=blame)
        except Exception as error:
            if len(claims) > 1:
                for claim in claims:
                    self._answer_batch([claim])
                return
            self._fail(claims[0], error)
        else:
            self.desk.answer(answers)
            self.announcer.announce([claim.id for claim, _ in answers])

    def _fail(self, claim: Claim, error: Exception) -> None:
        if isinstance(error, VitrineError):
            self.desk.fail(claim, error.code, error.message)
        else:
            log.exception("search %s failed", claim.id)
            self.desk.fail(claim, "internal", "Something went wrong with this search; the log says what.")
        self.announcer.announce([claim.id])

    def _answers(self, claims: Sequence[Claim]) -> list[tuple[Claim, SearchResult]]:
        taken_at, started = now_s(), time.perf_counter()
        queries = self._prepare(claims)
        _clock(queries, "decode", started)
        for query in queries:
            query.timings_ms["wait"] = 1000 * max(taken_at - query.claim.created_at, 0.0)
        self._embed(queries)
        started = time.perf_counter()
        self._search(queries)
        _clock(queries, "search", started)
        started = time.perf_counter()
        results = self._results(queries)
        _clock(queries, "hydrate", started)
        return [
            (q.claim, r.model_copy(update={"timings_ms": {k: round(v, 2) for k, v in q.timings_ms.items()}}))
            for q, r in zip(queries, results, strict=True)
        ]

    def _prepare(self, claims: Sequence[Claim]) -> list[Query]:
        """Find each search's index and decode its photo; what fails alone is failed alone."""
        queries = []
        images = list(self.decoders.map(self._load, claims))
        for claim, image in zip(claims, images, strict=True):
            try:
                with self.database.read() as session:
                    live = live_index(session, claim.catalogue_id)
                if live is None:
                    raise NotFound(f"Catalogue {claim.catalogue!r} is empty: import products first.")
                if isinstance(image, VitrineError):
                    raise image
                queries.append(Query(claim, live, self.pipelines.of(live), image))
            except Unavailable:
                raise
            except VitrineError as error:
                self._fail(claim, error)
        return queries

    def _results(self, queries: Sequence[Query]) -> list[SearchResult]:
        """Turn hits into products: one read of the database for each catalogue of the batch."""
        hydrators: dict[int, Hydrator] = {}
        for catalogue_id, version in {(q.claim.catalogue_id, q.live) for q in queries}:
            hits = [h for q in queries if q.live == version for part in q.hits for h in part]
            hydrators[version.id] = Hydrator(
                self.database,
                catalogue_id,
                version.id,
                {h.product_id for h in hits},
                {h.image_id for h in hits},
            )
        return [self._result(q, hydrators[q.live.id]) for q in queries]

    def _result(self, query: Query, hydrator: Hydrator) -> SearchResult:
        claim = query.claim
        models = {**query.pipeline.versions, "index": query.live.collection}
        if claim.product_id is not None:
            return product_result(
                claim.id, claim.catalogue, claim.options, claim.product_id, query.hits, hydrator, models
            )
        assert query.embedding is not None
        return photo_result(
            claim.id, claim.catalogue, claim.options, query.embedding.objects, query.hits, hydrator, models
        )

    def _load(self, claim: Claim) -> Image | VitrineError | None:
        if claim.query_key is None:
            return None
        try:
            return decode(self.store.get(claim.query_key, "queries"), self.limits)
        except NotFound:
            return InvalidInput("The photo of this search is no longer kept: search again with it.")
        except VitrineError as error:
            return error

    def _embed(self, queries: Sequence[Query]) -> None:
        """One batch for each pipeline that the queries' indexes were filled with; nearly always one."""
        groups: dict[int, list[Query]] = defaultdict(list)
        for query in queries:
            if query.image is not None:
                groups[id(query.pipeline)].append(query)
        for photos in groups.values():
            options = [QueryOptions(box=q.claim.options.box, detect=q.claim.options.detect) for q in photos]
            images = [q.image for q in photos if q.image is not None]
            embedded = photos[0].pipeline.embed_query(images, options)
            for query, embedding in zip(photos, embedded, strict=True):
                query.embedding = embedding
                query.timings_ms.update(embedding.timings_ms)

    def _search(self, queries: Sequence[Query]) -> None:
        """One call to Milvus for all queries that go to the same place with the same filter."""
        groups: dict[tuple[str, Filter | None, int], list[tuple[Query, Embeddings]]] = defaultdict(list)
        for query in queries:
            options = query.claim.options
            vectors = self._vectors(query)
            # The collection and not the alias, which another version may have the moment after.
            place = query.live.collection, _filter(options.category), options.top_k
            groups[place].append((query, vectors))
        for (collection, filter_, top_k), members in groups.items():
            found = self._nearest(collection, np.concatenate([v for _, v in members]), top_k, filter_)
            start = 0
            for query, vectors in members:
                query.hits = found[start : start + len(vectors)]
                start += len(vectors)

    def _vectors(self, query: Query) -> Embeddings:
        if query.embedding is not None:
            return query.embedding.embeddings
        claim = query.claim
        assert claim.product_id is not None
        try:
            return product_embeddings(self.database, claim.catalogue_id, query.live.id, claim.product_id)
        except UnknownProduct as error:
            with self.database.read() as session:
                if live_index(session, claim.catalogue_id) != query.live:
                    raise CollectionGone("Another index version went live meanwhile.") from error
            raise

    def _rows(
        self, collection: str, vectors: Embeddings, limit: int, filter_: Filter | None
    ) -> list[list[IndexHit]]:
        try:
            return self.index.search(collection, vectors, limit, filter_)
        except NotFound as error:
            raise CollectionGone(
                "The index of this catalogue is gone: `vitrine rebuild CATALOGUE` brings it back."
            ) from error

    def _nearest(
        self, collection: str, vectors: Embeddings, top_k: int, filter_: Filter | None
    ) -> list[list[IndexHit]]:
        """Search until each query has ``top_k`` products, or there are no more rows."""
        limit = min(max(top_k * _OVER_FETCH, 32), _MOST_ROWS)
        while True:
            found = self._rows(collection, vectors, limit, filter_)
            short = any(len(hits) >= limit and len({h.product_id for h in hits}) < top_k for hits in found)
            if not short or limit >= _MOST_ROWS:
                return found
            limit = min(2 * limit, _MOST_ROWS)


def _filter(category: str | None) -> Filter | None:
    return None if category is None else category_is(category)


def _clock(queries: Sequence[Query], stage: str, started: float) -> None:
    spent_ms = 1000 * (time.perf_counter() - started)
    for query in queries:
        query.timings_ms[stage] = spent_ms
