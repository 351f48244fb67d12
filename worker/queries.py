"""Claimed searches on their way to the index: what each is asked with, decoded and embedded if it must be."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from shared.contracts import SearchOptions
from shared.cursors import Cursor, read_cursor
from shared.database import Database
from shared.errors import (
    IndexUnavailable,
    InvalidInput,
    NotFound,
    Unavailable,
    UnknownProduct,
    VitrineError,
)
from shared.filters import Filter, both, category_is, parse
from shared.image_store import ImageStore
from shared.images import ImageLimits, decode
from shared.ledger.search_desk import Claim, Kept, SearchDesk
from worker.asked_again import keep, reuse, rounded
from worker.grouping import Candidate
from worker.hydrate import Pictures, product_pictures
from worker.index_versions import LiveIndex, live_index, model_version_id
from worker.pipeline import Pipeline, QueryEmbedding, QueryOptions
from worker.pipelines import Pipelines
from worker.rocchio import moved
from worker.vision import Detection, Embeddings, Image, IndexHit

#: A product has several rows (one an image), so more are fetched than products are wanted.
OVER_FETCH = 4
MIN_ROWS = 32
#: Further pages look at so many rows at once, whatever the page, so that all agree on the order.
PAGED_ROWS = 1024
MOST_ROWS = 4096


class CollectionGone(IndexUnavailable):
    """What a search was to be made in is there no longer."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page after the first.

    Attributes:
        cursor: where it begins.
        size: products of a group on the first page.
        seen: those of each group, objects first, the whole image last.
    """

    cursor: Cursor
    size: int
    seen: list[set[str]]


@dataclass(slots=True)
class Query:
    """A claimed search on its way through the stages.

    Attributes:
        filter: category and filter together.
        page: None for the first page.
        without: products that are not wanted in the answer.
        objects: what its photo shows.
        embeddings: ``(N, D)``: of each object and of the whole image last, or of a product's pictures.
        picture_ids: of those pictures.
        kept: what is to be kept with the search; None where nothing new is known.
        limit: rows that are asked for each embedding.
        hits: neighbours of each embedding.
        chosen: of each group, whole image last.
        more: whether a group may have more than was chosen.
    """

    claim: Claim
    live: LiveIndex
    pipeline: Pipeline
    models: int
    filter: Filter | None
    page: Page | None = None
    without: frozenset[str] = frozenset()
    photos: list[Image] = field(default_factory=list)
    objects: tuple[Detection, ...] = ()
    embeddings: Embeddings = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    picture_ids: tuple[str, ...] = ()
    kept: Kept | None = None
    limit: int = MIN_ROWS
    hits: list[list[IndexHit]] = field(default_factory=list)
    chosen: list[list[Candidate]] = field(default_factory=list)
    more: list[Cursor | None] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def options(self) -> SearchOptions:
        return self.claim.options

    @property
    def groups(self) -> list[list[int]]:
        """Which embeddings ask for each group: one an object, and the rest for the whole image."""
        objects = len(self.objects)
        return [*([n] for n in range(objects)), list(range(objects, len(self.embeddings)))]

    def spent(self, stage: str, ms: float) -> None:
        self.timings_ms[stage] = self.timings_ms.get(stage, 0.0) + ms


@contextmanager
def clocked(queries: Sequence[Query], stage: str) -> Iterator[None]:
    """Add what the block takes to the stage of each query: what its batch took is what it waited."""
    started = time.perf_counter()
    yield
    for query in queries:
        query.spent(stage, 1000 * (time.perf_counter() - started))


@dataclass(frozen=True)
class Preparing:
    """Makes queries of claims.

    Attributes:
        limits: of what may be decoded; photos were normalised by the web already.
    """

    database: Database
    desk: SearchDesk
    store: ImageStore
    pipelines: Pipelines
    decoders: ThreadPoolExecutor
    limits: ImageLimits
    model_ids: dict[tuple[str, str], int] = field(default_factory=dict)

    def prepare(self, claims: Sequence[Claim], fail: Callable[[Claim, VitrineError], None]) -> list[Query]:
        """Find each search's index, and embed what is not known; what fails alone is given to ``fail``.

        Raises:
            Unavailable: a service is away: all of them wait.
        """
        lives: dict[int, LiveIndex | None] = {}
        queries = self._each(claims, lambda claim: self._begin(claim, lives), fail)
        unknown = [q for q in queries if len(q.claim.photos) and not len(q.embeddings)]
        if unknown:
            with clocked(unknown, "decode"):
                decoded = list(self.decoders.map(self._load, unknown))
            for query, photos in zip(unknown, decoded, strict=True):
                if isinstance(photos, VitrineError):
                    if isinstance(photos, Unavailable):
                        raise photos
                    fail(query.claim, photos)
                    queries.remove(query)
                else:
                    query.photos = photos
            self._embed([q for q in unknown if q.photos])
        by_claim = {q.claim.id: q for q in queries}
        return self._each([q.claim for q in queries], lambda c: self._finish(by_claim[c.id]), fail)

    def _each(
        self,
        claims: Sequence[Claim],
        step: Callable[[Claim], Query],
        fail: Callable[[Claim, VitrineError], None],
    ) -> list[Query]:
        done = []
        for claim in claims:
            try:
                done.append(step(claim))
            except Unavailable:
                raise
            except VitrineError as error:
                fail(claim, error)
        return done

    def _begin(self, claim: Claim, lives: dict[int, LiveIndex | None]) -> Query:
        if claim.catalogue_id not in lives:
            with self.database.read() as session:
                lives[claim.catalogue_id] = live_index(session, claim.catalogue_id)
        live = lives[claim.catalogue_id]
        if live is None:
            raise NotFound(f"Catalogue {claim.catalogue!r} is empty: import products first.")
        pipeline = self.pipelines.of(live)
        query = Query(claim, live, pipeline, self._models(pipeline), wanted_filter(claim.options))
        options = claim.options
        query.limit = min(max(options.top_k * OVER_FETCH, MIN_ROWS), MOST_ROWS)
        if options.after is not None:
            query.page = self._page(options.after)
            query.limit = min(max(PAGED_ROWS, query.page.size * OVER_FETCH), MOST_ROWS)
        if claim.kept is not None and claim.kept.models == query.models:
            known = reuse(claim.kept, options)
            if known is not None:
                query.objects, query.embeddings = known.objects, known.embeddings
        return query

    def _page(self, after: str) -> Page:
        cursor = read_cursor(after)
        first = self.desk.first_page(cursor.search)
        if first is None or not -1 <= cursor.group < len(first.result.objects):
            raise InvalidInput("The search that this page belongs to is gone: search again.", "after")
        groups = [*(found.hits for found in first.result.objects), first.result.whole.hits]
        return Page(cursor, first.options.top_k, [{hit.product_id for hit in hits} for hits in groups])

    def _models(self, pipeline: Pipeline) -> int:
        versions = pipeline.detector.version, pipeline.embedder.version
        if versions not in self.model_ids:
            with self.database.write() as session:
                self.model_ids[versions] = model_version_id(session, *versions)
        return self.model_ids[versions]

    def _load(self, query: Query) -> list[Image] | VitrineError:
        # A box is drawn on the first photo.
        keys = query.claim.photos[:1] if query.options.box is not None else query.claim.photos
        try:
            return [decode(self.store.get(key, "queries"), self.limits) for key in keys]
        except NotFound:
            return InvalidInput("The photo of this search is no longer kept: search again with it.")
        except VitrineError as error:
            return error

    def _embed(self, queries: Sequence[Query]) -> None:
        """One batch for each pipeline that the queries' indexes were filled with; nearly always one."""
        groups: dict[int, list[Query]] = defaultdict(list)
        for query in queries:
            groups[id(query.pipeline)].append(query)
        for members in groups.values():
            photos = [(q, photo) for q in members for photo in q.photos]
            options = [QueryOptions(box=q.options.box, detect=q.options.detect) for q, _ in photos]
            embedded = iter(members[0].pipeline.embed_query([photo for _, photo in photos], options))
            for query in members:
                found = one_of([next(embedded) for _ in query.photos])
                found = QueryEmbedding(found.objects, rounded(found.embeddings), found.timings_ms)
                query.objects, query.embeddings = found.objects, found.embeddings
                query.timings_ms.update(found.timings_ms)
                query.kept = keep(found, query.options, query.models, query.claim.kept)
                query.photos = []

    def _finish(self, query: Query) -> Query:
        """Add a product's pictures, and move the query towards what is liked."""
        claim, options = query.claim, query.options
        examples = {*options.like, *options.unlike, *([claim.product_id] if claim.product_id else ())}
        if not examples:
            return query
        known = self._pictures(query, sorted(examples))
        if claim.product_id is not None:
            pictures = known[claim.product_id]
            query.embeddings, query.picture_ids = pictures.embeddings, pictures.image_ids
        elif not claim.photos:
            query.embeddings = np.zeros((1, query.live.dim), np.float32)
        query.without = frozenset(examples)

        def middles(ids: Sequence[str]) -> Embeddings:
            rows = [known[product_id].embeddings.mean(axis=0) for product_id in ids]
            return np.stack(rows) if rows else np.zeros((0, query.live.dim), np.float32)

        if options.like or options.unlike:
            query.embeddings = moved(query.embeddings, middles(options.like), middles(options.unlike))
        return query

    def _pictures(self, query: Query, product_ids: Sequence[str]) -> dict[str, Pictures]:
        catalogue_id = query.claim.catalogue_id
        try:
            return product_pictures(self.database, catalogue_id, query.live.id, product_ids)
        except UnknownProduct as error:
            with self.database.read() as session:
                if live_index(session, catalogue_id) != query.live:
                    raise CollectionGone("Another index version went live meanwhile.") from error
            raise


def wanted_filter(options: SearchOptions) -> Filter | None:
    """Return category and filter of a search as one, None where it has neither.

    Raises:
        InvalidInput: the filter cannot be read.
    """
    category = None if options.category is None else category_is(options.category)
    return both(category, None if options.filter is None else parse(options.filter))


def one_of(photos: Sequence[QueryEmbedding]) -> QueryEmbedding:
    """Return the embedding of one thing that several photos show: the mean of its main objects.

    Where a photo shows no object, the whole photo is the thing. One photo stays as it is.
    """
    if len(photos) == 1:
        return photos[0]
    wholes = _mean([photo.embeddings[-1] for photo in photos])
    found = next((photo.objects[0] for photo in photos if photo.objects), None)
    if found is None:
        return QueryEmbedding((), wholes, photos[0].timings_ms)
    main = photos[0].objects[0].box if photos[0].objects else (0.0, 0.0, 1.0, 1.0)
    # The first row is the main object's, or the whole photo's where there is none.
    rows = np.concatenate([_mean([photo.embeddings[0] for photo in photos]), wholes])
    return QueryEmbedding((Detection(main, found.label, found.confidence),), rows, photos[0].timings_ms)


def _mean(rows: Sequence[Embeddings]) -> Embeddings:
    total = np.stack(rows).mean(axis=0)
    unit: Embeddings = (total / max(float(np.linalg.norm(total)), 1e-6))[np.newaxis]
    return unit
