"""Makes queries of claimed searches: decoded and embedded if they must be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from sqlalchemy import bindparam, select

from shared.contracts import SearchOptions
from shared.database import Database
from shared.database.tables import Calibration as CalibrationRow
from shared.database.tables import IndexVersionRow, Ranking
from shared.errors import (
    Conflict,
    IndexUnavailable,
    InvalidInput,
    NotFound,
    Unavailable,
    UnknownProduct,
    VitrineError,
)
from shared.filters import Filter, both, category_is, parse
from shared.searches.cursors import read_cursor
from shared.searches.queue import Claim, SearchQueue
from worker.calibration.calibration_store import Calibration, Calibrations
from worker.indexes.pipelines import Pipelines
from worker.indexes.versions import LIVE_COLUMNS, as_live, live_index, model_version_id
from worker.search.boosting import Boosting
from worker.search.embedding_reuse import keep, readable, reuse, rounded
from worker.search.hydrate import Pictures, product_pictures
from worker.search.photos import Photos
from worker.search.query import MOST_ROWS, OVER_FETCH, PAGED_ROWS, Page, Place, Query, clocked, first_limit
from worker.search.rocchio import moved
from worker.vision import Detection, Embeddings, Image
from worker.vision.pipeline import Pipeline, QueryEmbedding, QueryOptions

#: The live version, when it was calibrated, and what the owner boosts: one question, and one statement that
#: is made once, for every batch asks it.
_PLACE = (
    select(*LIVE_COLUMNS, CalibrationRow.created_at.label("calibrated_at"), Ranking.boosts)
    .outerjoin(CalibrationRow, CalibrationRow.index_version == IndexVersionRow.id)
    .outerjoin(Ranking, Ranking.catalogue_id == IndexVersionRow.catalogue_id)
    .where(IndexVersionRow.catalogue_id == bindparam("catalogue"), IndexVersionRow.state == "live")
)


class CollectionGone(IndexUnavailable):
    """What a search was to be made in is there no longer."""


@dataclass(frozen=True)
class Preparing:
    """Makes queries of claims.

    Attributes:
        decoders: threads for several photos at once.
    """

    database: Database
    desk: SearchQueue
    photos: Photos
    pipelines: Pipelines
    decoders: ThreadPoolExecutor
    calibrations: Calibrations
    model_ids: dict[tuple[str, str], int] = field(default_factory=dict)

    def prepare(self, claims: Sequence[Claim], fail: Callable[[Claim, VitrineError], None]) -> list[Query]:
        """Find each search's index, and embed what is not known; what fails alone is given to ``fail``.

        Raises:
            Unavailable: a service is away: all of them wait.
        """
        places: dict[int, Place | None] = {}
        queries = self._each(claims, lambda claim: self._begin(claim, places), fail)
        unknown = [q for q in queries if len(q.claim.photos) and not len(q.embeddings)]
        if unknown:
            with clocked(unknown, "decode"):
                # One alone need not go through another thread.
                decoding = self.decoders.map if len(unknown) > 1 else map
                decoded = list(decoding(self._load, unknown))
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

    def _begin(self, claim: Claim, places: dict[int, Place | None]) -> Query:
        if claim.catalogue_id not in places:
            places[claim.catalogue_id] = self._place(claim.catalogue_id)
        place = places[claim.catalogue_id]
        if place is None:
            raise NotFound(f"Catalogue {claim.catalogue!r} is empty: import products first.")
        claim = replace(claim, stored=readable(claim.stored, place.live.dim))
        options = claim.options
        pipeline = self.pipelines.of(place.live)
        query = Query(
            claim,
            place.live,
            pipeline,
            self._models(pipeline),
            wanted_filter(options),
            place.boosting if options.boosts is None else Boosting.of(options.boosts),
            _calibration_for(claim, place),
        )
        query.limit = first_limit(options.top_k)
        if options.after is not None:
            query.page = self._page(options.after)
            query.limit = min(max(PAGED_ROWS, query.page.size * OVER_FETCH), MOST_ROWS)
        if claim.stored is not None and claim.stored.models == query.models:
            known = reuse(claim.stored, options)
            if known is not None:
                query.objects, query.embeddings = known.objects, known.embeddings
        return query

    def _place(self, catalogue_id: int) -> Place | None:
        with self.database.read_connection() as connection:
            row = connection.execute(_PLACE, {"catalogue": catalogue_id}).one_or_none()
            if row is None:
                return None
            live = as_live(row)
            calibration = self.calibrations.of(connection, live, row.calibrated_at)
            return Place(live, calibration, Boosting.stored(row.boosts))

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
            return [self.photos.load(key) for key in keys]
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
                query.kept = keep(found, query.options, query.models, query.claim.stored)
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
                    raise CollectionGone("Another index version has gone live.") from error
            raise


def _calibration_for(claim: Claim, place: Place) -> Calibration | None:
    """Return what the scores of a search mean.

    Calibrated are the scores of photos. Those of a product's own pictures, and of a query that examples
    moved, are others.

    Raises:
        Conflict: a probability is asked for, and there is none.
    """
    options = claim.options
    by_photo = bool(claim.photos) and not options.like and not options.unlike
    found = place.calibration if by_photo else None
    if options.min_probability is not None and found is None:
        why = (
            f"Catalogue {claim.catalogue!r} is not calibrated: `vitrine calibrate {claim.catalogue}` does it"
            if by_photo
            else "Only searches by photo alone have probabilities"
        )
        raise Conflict(f"{why}. `min_score` works without.", "min_probability")
    return found


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
