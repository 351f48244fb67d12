"""Make embedded queries of claimed searches: locate the index, decode and embed photos, apply examples."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from sqlalchemy import bindparam, select

from shared.contracts import SearchOptions
from shared.contracts.states import IndexState
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
from shared.sandbox import PictureSandbox
from shared.searches.cursors import read_cursor
from shared.searches.queue import Claim, SearchQueue
from shared.storage.image_store import ImageStore
from worker.calibration.calibration_store import Calibration, Calibrations
from worker.indexes.pipelines import Pipelines
from worker.indexes.versions import LIVE_COLUMNS, IndexVersion, live_index, model_version_id
from worker.search.boosting import NO_BOOSTS, Boosting
from worker.search.candidates import ProductPictures, load_product_pictures
from worker.search.combining import apply_examples, merge_photos
from worker.search.embedding_reuse import merge_stored, reuse, round_embeddings, validate_stored
from worker.search.stages import (
    DecodedQuery,
    EmbeddedQuery,
    Page,
    Query,
    SearchTarget,
    first_limit,
    page_limit,
)
from worker.vision import Image
from worker.vision.pipeline import Pipeline, QueryEmbedding, QueryOptions

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Live version, creation time of its calibration, and the owner's boosts. One statement, because every batch
#: executes it; built at import, because constructing it costs more than executing it.
_TARGET = (
    select(*LIVE_COLUMNS, CalibrationRow.created_at.label("calibrated_at"), Ranking.boosts)
    .outerjoin(CalibrationRow, CalibrationRow.index_version == IndexVersionRow.id)
    .outerjoin(Ranking, Ranking.catalogue_id == IndexVersionRow.catalogue_id)
    .where(IndexVersionRow.catalogue_id == bindparam("catalogue"), IndexVersionRow.state == IndexState.LIVE)
)


class CollectionGone(IndexUnavailable):
    """The index version of a search was replaced after it was read."""


@dataclass(frozen=True)
class QueryEmbedder:
    """Makes embedded queries of claims.

    Attributes:
        pictures: decodes photos, which the web encoded again, in child processes.
        decoders: threads that decode the photos of several searches concurrently.
        model_ids: cache of the row ids of model versions.
    """

    database: Database
    queue: SearchQueue
    store: ImageStore
    pictures: PictureSandbox
    pipelines: Pipelines
    decoders: ThreadPoolExecutor
    calibrations: Calibrations
    model_ids: dict[tuple[str, str], int] = field(default_factory=dict)

    def embed(
        self, claims: Sequence[Claim], fail: Callable[[Claim, VitrineError], None]
    ) -> list[EmbeddedQuery]:
        """Return the queries of a batch; a search that fails alone is given to ``fail`` and left out.

        Raises:
            Unavailable: all searches of the batch wait for a service.
        """

        def fail_query(query: Query, error: VitrineError) -> None:
            fail(query.claim, error)

        targets: dict[int, SearchTarget | None] = {}
        queries = _apply_each(claims, lambda claim: self._locate(claim, targets), fail)
        decoded = self._decode([q for q in queries if q.claim.photos and q.reused is None], fail_query)
        found = self._run_models(decoded)
        embedded = [q for q in queries if not q.claim.photos or q.reused is not None or q.claim.id in found]
        return _apply_each(embedded, lambda q: self._complete(q, found.get(q.claim.id)), fail_query)

    def _locate(self, claim: Claim, targets: dict[int, SearchTarget | None]) -> Query:
        """Return the query of a claim; ``targets`` caches those of the batch by catalogue id."""
        if claim.catalogue_id not in targets:
            targets[claim.catalogue_id] = self._load_target(claim.catalogue_id)
        target = targets[claim.catalogue_id]
        if target is None:
            raise NotFound(f"Catalogue {claim.catalogue!r} is empty: import products first.")
        if claim.stored is not None:
            claim = replace(claim, stored=validate_stored(claim.stored, target.live.dim))
        options = claim.options
        pipeline = self.pipelines.of(target.live)
        models = self._load_model_id(pipeline)
        page = None if options.after is None else self._load_page(options.after)
        reused = None
        if claim.stored is not None and claim.stored.models == models:
            reused = reuse(claim.stored, options)
        return Query(
            claim,
            target.live,
            pipeline,
            models,
            combine_filters(options),
            target.boosting if options.boosts is None else Boosting.of(options.boosts),
            _choose_calibration(claim, target),
            first_limit(options.top_k) if page is None else page_limit(page),
            page,
            reused,
        )

    def _load_target(self, catalogue_id: int) -> SearchTarget | None:
        with self.database.read_connection() as connection:
            row = connection.execute(_TARGET, {"catalogue": catalogue_id}).one_or_none()
            if row is None:
                return None
            live = IndexVersion(*row[: len(LIVE_COLUMNS)])
            calibration = self.calibrations.of(connection, live, row.calibrated_at)
        return SearchTarget(
            live, calibration, NO_BOOSTS if row.boosts is None else Boosting.stored(row.boosts)
        )

    def _load_page(self, after: str) -> Page:
        cursor = read_cursor(after)
        first = self.queue.first_page(cursor.search)
        if first is None or not -1 <= cursor.group < len(first.result.objects):
            raise InvalidInput("The search that this page belongs to is gone: search again.", "after")
        groups = [*(found.hits for found in first.result.objects), first.result.whole.hits]
        return Page(cursor, first.options.top_k, [{hit.product_id for hit in hits} for hits in groups])

    def _load_model_id(self, pipeline: Pipeline) -> int:
        versions = pipeline.detector.version, pipeline.embedder.version
        if versions not in self.model_ids:
            with self.database.write() as session:
                self.model_ids[versions] = model_version_id(session, *versions)
        return self.model_ids[versions]

    def _decode(
        self, queries: Sequence[Query], fail: Callable[[Query, VitrineError], None]
    ) -> list[DecodedQuery]:
        """Load and decode the photos of queries, in threads if there are several."""
        began = time.perf_counter()
        decode_all = self.decoders.map if len(queries) > 1 else map
        photos = list(decode_all(self._load_photos, queries))
        decode_ms = 1000 * (time.perf_counter() - began)
        decoded = []
        for query, found in zip(queries, photos, strict=True):
            query.timings_ms["decode"] = decode_ms
            if isinstance(found, Unavailable):
                raise found
            if isinstance(found, VitrineError):
                fail(query, found)
            else:
                decoded.append(DecodedQuery(query, found))
        return decoded

    def _load_photos(self, query: Query) -> list[Image] | VitrineError:
        # A box refers to the first photo.
        claim = query.claim
        keys = claim.photos[:1] if claim.options.box is not None else claim.photos
        try:
            return [self.pictures.decode(self.store.get(key, "queries")) for key in keys]
        except NotFound:
            return InvalidInput("The photo of this search is no longer kept: search again with it.")
        except VitrineError as error:
            return error

    def _run_models(self, decoded: Sequence[DecodedQuery]) -> dict[str, QueryEmbedding]:
        """Return embeddings by search id, with one batch per pipeline; there is nearly always one."""
        by_pipeline: dict[int, list[DecodedQuery]] = defaultdict(list)
        for each in decoded:
            by_pipeline[id(each.query.pipeline)].append(each)
        found = {}
        for members in by_pipeline.values():
            photos = [(query.claim.options, photo) for query, photos in members for photo in photos]
            options = [QueryOptions(box=chosen.box, detect=chosen.detect) for chosen, _ in photos]
            pipeline = members[0].query.pipeline
            embedded = iter(pipeline.embed_query([photo for _, photo in photos], options))
            for query, own in members:
                each_photo = [next(embedded) for _ in own]
                merged = each_photo[0] if len(own) == 1 else merge_photos(each_photo)
                found[query.claim.id] = replace(merged, embeddings=round_embeddings(merged.embeddings))
                query.timings_ms.update(merged.timings_ms)
        return found

    def _complete(self, query: Query, found: QueryEmbedding | None) -> EmbeddedQuery:
        """Return the embedded query; ``found`` is the result of the models, None where they did not run."""
        claim, options, pipeline = query.claim, query.claim.options, query.pipeline
        to_store = None if found is None else merge_stored(found, options, query.models, claim.stored)
        known = found or query.reused or QueryEmbedding((), np.zeros((1, query.live.dim), np.float32), {})
        objects, embeddings = known.objects, known.embeddings
        picture_ids: tuple[str, ...] = ()
        examples = {*options.like, *options.unlike, *([claim.product_id] if claim.product_id else ())}
        if examples:
            pictures = self._load_pictures(query, sorted(examples))
            if claim.product_id is not None:
                embeddings = pictures[claim.product_id].embeddings
                picture_ids = pictures[claim.product_id].image_ids
            if options.like or options.unlike:
                means = {key: each.embeddings.mean(axis=0) for key, each in pictures.items()}
                liked, unliked = (
                    np.array([means[key] for key in keys], np.float32).reshape(-1, query.live.dim)
                    for keys in (options.like, options.unlike)
                )
                embeddings = apply_examples(embeddings, liked, unliked)
        doubtful = () if options.box is not None else objects
        return EmbeddedQuery(
            query,
            objects,
            embeddings,
            [*([n] for n in range(len(objects))), list(range(len(objects), len(embeddings)))],
            frozenset(n for n, each in enumerate(doubtful) if pipeline.is_doubtful(each)),
            picture_ids,
            frozenset(examples),
            to_store,
        )

    def _load_pictures(self, query: Query, product_ids: Sequence[str]) -> dict[str, ProductPictures]:
        catalogue_id = query.claim.catalogue_id
        try:
            return load_product_pictures(self.database, catalogue_id, query.live.id, product_ids)
        except UnknownProduct as error:
            with self.database.read() as session:
                if live_index(session, catalogue_id) != query.live:
                    raise CollectionGone("Another index version has gone live.") from error
            raise


def _apply_each(
    items: Sequence[Item], step: Callable[[Item], Result], fail: Callable[[Item, VitrineError], None]
) -> list[Result]:
    """Return the results of a step; an item that fails alone is given to ``fail`` and left out."""
    done = []
    for item in items:
        try:
            done.append(step(item))
        except Unavailable:
            raise
        except VitrineError as error:
            fail(item, error)
    return done


def _choose_calibration(claim: Claim, target: SearchTarget) -> Calibration | None:
    """Return the meaning of a search's scores.

    Only scores of photos are calibrated. A product's own pictures, and queries that examples moved, have
    other distributions.

    Raises:
        Conflict: a probability is asked for, and the catalogue has no calibration.
    """
    options = claim.options
    by_photo = bool(claim.photos) and not options.like and not options.unlike
    found = target.calibration if by_photo else None
    if options.min_probability is not None and found is None:
        why = (
            f"Catalogue {claim.catalogue!r} is not calibrated: `vitrine calibrate {claim.catalogue}` does it"
            if by_photo
            else "Only searches by photo alone have probabilities"
        )
        raise Conflict(f"{why}. `min_score` works without.", "min_probability")
    return found


def combine_filters(options: SearchOptions) -> Filter | None:
    """Return category and filter of a search combined; None where it has neither.

    Raises:
        InvalidInput: the filter cannot be read.
    """
    filter_ = None if options.filter is None else parse(options.filter)
    return filter_ if options.category is None else both(category_is(options.category), filter_)
