"""Embed queries: load, decode and embed their photos, or load products' pictures, and apply examples."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from shared.database import Database
from shared.errors import (
    IndexUnavailable,
    InvalidInput,
    NotFound,
    Unavailable,
    UnknownProduct,
    VitrineError,
)
from shared.sandbox.pool import PictureSandbox
from shared.searches.queue import Claim
from shared.storage.image_store import ImageStore
from worker.indexes.versions import live_index
from worker.search.candidates import ProductPictures, load_product_pictures
from worker.search.combining import apply_examples, merge_photos
from worker.search.embedding_reuse import merge_stored, round_embeddings
from worker.search.locating import apply_each
from worker.search.stages import (
    DecodedQuery,
    EmbeddedQuery,
    Query,
)
from worker.vision import Image
from worker.vision.pipeline import QueryEmbedding, QueryOptions

Item = TypeVar("Item")
Result = TypeVar("Result")


class CollectionGone(IndexUnavailable):
    """The index version of a search was replaced after it was read."""


@dataclass(frozen=True)
class QueryEmbedder:
    """Embeds queries.

    Attributes:
        pictures: decodes photos, which the web encoded again, in child processes.
        decoders: threads that decode the photos of several searches concurrently.
    """

    database: Database
    store: ImageStore
    pictures: PictureSandbox
    decoders: ThreadPoolExecutor

    def embed(
        self, queries: Sequence[Query], fail: Callable[[Claim, VitrineError], None]
    ) -> list[EmbeddedQuery]:
        """Embed the queries of a batch; a search that fails alone is given to ``fail`` and left out.

        Raises:
            Unavailable: all searches of the batch wait for a service.
        """

        def fail_query(query: Query, error: VitrineError) -> None:
            fail(query.claim, error)

        decoded = self._decode([q for q in queries if q.claim.photos and q.reused is None], fail_query)
        found = self._run_models(decoded)
        embedded = [q for q in queries if not q.claim.photos or q.reused is not None or q.claim.id in found]
        return apply_each(embedded, lambda q: self._complete(q, found.get(q.claim.id)), fail_query)

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
        to_store = None if found is None else merge_stored(found, options, query.models.id, claim.stored)
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
